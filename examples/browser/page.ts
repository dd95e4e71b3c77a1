/** A page on which people log in and make their API keys. It calls latchkey itself, by Connect or by gRPC-Web. */

import { type Client, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import { ErrorInfoSchema } from "../../src/gen/google/rpc/error_details_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";

// The service's LATCHKEY_CORS_ORIGINS must have the origin of this page.
const baseUrl = new URLSearchParams(location.search).get("latchkey") ?? "http://localhost:8080";
const form = document.querySelector("form")!;
const status = document.querySelector("p")!;
const list = document.querySelector("ul")!;
/** In the memory of the page alone, where no later script of another page finds it. */
let accessToken = "";

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { value: action } = event.submitter as HTMLButtonElement;
  status.textContent = "…";
  try {
    status.textContent = await act(action, new FormData(form));
  } catch (error) {
    status.textContent = reasonOf(error);
  }
});

async function act(action: string, fields: FormData): Promise<string> {
  const transport =
    fields.get("protocol") === "gRPC-Web" ? createGrpcWebTransport({ baseUrl }) : createConnectTransport({ baseUrl });
  const keys = createClient(KeyService, transport);
  if (action === "issue") {
    // The only moment at which anyone sees the key.
    const { apiKey } = await keys.issueKey({ name: "from the page" }, authorized());
    await showKeys(keys);
    return apiKey;
  }
  const credentials = { email: `${fields.get("email")}`, password: `${fields.get("password")}` };
  const auth = createClient(AuthService, transport);
  const { tokens } = await (action === "register" ? auth.register(credentials) : auth.login(credentials));
  accessToken = tokens?.accessToken ?? "";
  form.querySelector<HTMLButtonElement>("[value=issue]")!.disabled = false;
  await showKeys(keys);
  return "logged in";
}

async function showKeys(client: Client<typeof KeyService>): Promise<void> {
  const { keys } = await client.listKeys({}, authorized());
  list.replaceChildren(
    ...keys.map(({ id, name }) => {
      const item = document.createElement("li");
      item.textContent = `${name} (${id})`;
      return item;
    }),
  );
}

function authorized() {
  return { headers: { authorization: `Bearer ${accessToken}` } };
}

/** The reason in the error's details; for an error of the network, its text. */
function reasonOf(error: unknown): string {
  const failed = ConnectError.from(error);
  return failed.findDetails(ErrorInfoSchema)[0]?.reason ?? failed.message;
}
