/** A call as curl makes it: the body is sent as it is written here. `path` is `Service/Method`. */
export async function postJson(
  address: string,
  path: string,
  body: string,
  credential?: string,
): Promise<{ status: number; text: string }> {
  const response = await fetch(`http://${address}/latchkey.v1.${path}`, {
    method: "POST",
    headers: { "content-type": "application/json", ...(credential && { authorization: `Bearer ${credential}` }) },
    body,
  });
  return { status: response.status, text: await response.text() };
}
