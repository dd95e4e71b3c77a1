/** Makes a call as curl does, with exactly this body. `path` is `Service/Method`. */
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
