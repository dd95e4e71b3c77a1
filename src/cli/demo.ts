/**
 * `npm run demo`: makes the main calls to a running development service, and shows each call and its answer in a line
 * or two. It speaks plain JSON over HTTP, so each call could be made by curl too.
 */
import { existsSync, readFileSync } from "node:fs";
import { readConfig } from "../config/config.ts";
import { randomBase62 } from "../lib/random.ts";
import { adminCredentialFile } from "../start/first-operator.ts";

type Json = Record<string, unknown>;

const config = readConfig(process.env);
const base = `http://${config.listen.host}:${config.listen.port}`;
/** The basic tier allows 20 calls a minute. */
const CALLS = 21;

try {
  await walkThrough();
} catch (error) {
  say(`\ndemo: ${(error as Error).message}`);
  process.exitCode = 1;
}

async function walkThrough(): Promise<void> {
  const admin = readAdminCredential();
  const email = `demo-${randomBase62(8).toLowerCase()}@example.com`;
  const password = `demo ${randomBase62(20)}`;

  title("A person registers, and logs in");
  await call("AuthService/Register", { email, password, displayName: "Demo" }, undefined, ({ user }) => user);
  const login = await call("AuthService/Login", { email, password }, undefined, ({ tokens }) => tokens);
  const token = text(login, "tokens", "accessToken");

  title("The person issues an API key; it is shown only this once");
  const issued = await call("KeyService/IssueKey", { name: "demo key", scopes: ["orders:read"] }, token);
  const keyId = text(issued, "key", "id");
  const apiKey = text(issued, "apiKey");

  title("A service with the scope `verify` asks about the key");
  const made = await call("AdminService/IssueServiceCredential", { name: "demo", scopes: ["verify"] }, admin);
  const verifier = text(made, "secret");
  const verify = (key: string, more: Json = {}) =>
    call("KeyService/VerifyKey", { apiKey: key, ...more }, verifier, ({ valid, verdict, retryAfter }) => ({
      valid: valid ?? false,
      verdict,
      retryAfter,
    }));
  await verify(apiKey, { requiredScopes: ["orders:read"] });
  await verify(apiKey, { requiredScopes: ["orders:delete"] });

  title(`The ${CALLS}st call within a minute is refused, with the time to wait`);
  for (let n = 2; n < CALLS; n++) await post("KeyService/VerifyKey", { apiKey }, verifier);
  await verify(apiKey);

  title("The key is rotated: same id, new secret; the old one works until the overlap ends");
  const rotated = await call("KeyService/RotateKey", { keyId, overlap: "3600s" }, token);
  const newKey = text(rotated, "apiKey");
  await verify(apiKey, { cost: 0 });
  await verify(newKey, { cost: 0 });

  title("The key is revoked, for good");
  await call("KeyService/RevokeKey", { keyId, reason: "end of the demo" }, token, ({ key }) => (key as Json).state);
  await verify(newKey);

  title("The credential that the demo made is taken back");
  const credentialId = text(made, "credential", "id");
  await call(
    "AdminService/RevokeServiceCredential",
    { credentialId },
    admin,
    (answer) => (answer.credential as Json).state,
  );
}

function readAdminCredential(): string {
  const path = adminCredentialFile(config.dataDir);
  if (existsSync(path)) return readFileSync(path, "utf8").trim();
  throw new Error(
    `there is no ${path}. The first npm start in development writes it; if bootstrap made the operator, put the credential that it printed there`,
  );
}

/** Makes a call and shows it, with the part of the answer that `shown` picks. */
async function call(
  method: string,
  request: Json,
  token?: string,
  shown = (answer: Json): unknown => answer,
): Promise<Json> {
  say(`> ${method} ${brief(request)}`);
  const answer = await post(method, request, token);
  say(`  ${brief(shown(answer))}`);
  return answer;
}

async function post(method: string, request: Json, token: string | undefined): Promise<Json> {
  const headers = {
    "content-type": "application/json",
    ...(token !== undefined && { authorization: `Bearer ${token}` }),
  };
  const response = await fetch(`${base}/latchkey.v1.${method}`, {
    method: "POST",
    headers,
    body: JSON.stringify(request),
  }).catch(() => {
    throw new Error(`nothing answers at ${base}: start the service first with npm start`);
  });
  const answer = (await response.json()) as Json;
  if (!response.ok) throw new Error(`${method} failed: ${answer.code}: ${answer.message}`);
  return answer;
}

/** The text at a path of an answer. */
function text(answer: Json, ...path: string[]): string {
  let value: unknown = answer;
  for (const name of path) value = (value as Json | undefined)?.[name];
  if (typeof value !== "string") throw new Error(`the answer has no ${path.join(".")}`);
  return value;
}

/** One line of JSON. Long texts (keys, tokens) are cut, because secrets do not belong on a screen. */
function brief(value: unknown): string {
  return JSON.stringify(value, (name, inner: unknown) => {
    if (name === "password") return "...";
    return typeof inner === "string" && inner.length > 44 ? `${inner.slice(0, 16)}...` : inner;
  });
}

function title(line: string): void {
  say(`\n${line}`);
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
