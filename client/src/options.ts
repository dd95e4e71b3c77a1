import type { Transport } from "@connectrpc/connect";
import { type CredentialSource, isCredentialText } from "./credential.ts";

/** Options of the verification of access tokens. The defaults are those of the service. */
export interface AccessTokenOptions {
  /** `iss` of the tokens: the service's LATCHKEY_ISSUER. Default "http://localhost:8080". */
  readonly issuer?: string | undefined;
  /** `aud` of the tokens: the service's LATCHKEY_AUDIENCE. Default "latchkey". */
  readonly audience?: string | undefined;
  /** The URL of the keys. Default `/.well-known/jwks.json` of `baseUrl`; needed with `transport`. */
  readonly jwksUrl?: string | undefined;
}

export interface LatchkeyOptions {
  /** The service's URL, such as "http://127.0.0.1:8080". Either this or `transport`. */
  readonly baseUrl?: string | undefined;
  /** Any transport of Connect, in place of the gRPC transport that `baseUrl` makes. */
  readonly transport?: Transport | undefined;
  /** A service credential with the scope `verify`, or a function that gives it and is asked again when it is refused. */
  readonly credential: CredentialSource;
  /** Time for one verdict, 1 to 60,000 ms. Default 1,000. */
  readonly deadlineMs?: number | undefined;
  /** Whether calls of one turn of the event loop go as one. Default true. */
  readonly batch?: boolean | undefined;
  /** Default: as the service's own defaults. `false`: access tokens are not verified. */
  readonly accessTokens?: AccessTokenOptions | false | undefined;
}

/** Options with their defaults. */
export interface CheckedOptions {
  readonly baseUrl: string | undefined;
  readonly transport: Transport | undefined;
  readonly credential: CredentialSource;
  readonly deadlineMs: number;
  readonly batch: boolean;
  /** `jwksUrl` is undefined where it can't be known. */
  readonly accessTokens:
    | { readonly issuer: string; readonly audience: string; readonly jwksUrl: string | undefined }
    | undefined;
}

const NAMES = ["baseUrl", "transport", "credential", "deadlineMs", "batch", "accessTokens"] as const;
const TOKEN_NAMES = ["issuer", "audience", "jwksUrl"] as const;
/** Options that later versions may have. Ignoring them would let users believe that they work. */
const NOT_YET = new Map([["near", "verification inside of this process"]]);
const MAX_DEADLINE_MS = 60_000;
const ISSUER = "http://localhost:8080";
const AUDIENCE = "latchkey";
const JWKS_PATH = "/.well-known/jwks.json";

/** @throws TypeError with the name of the option and what is allowed */
export function checkOptions(options: LatchkeyOptions): CheckedOptions {
  if (typeof options !== "object" || options === null) throw fault("the options", "must be an object");
  checkNames("", options, NAMES);
  const { baseUrl, transport, credential, deadlineMs = 1000, batch = true } = options;
  if ((baseUrl === undefined) === (transport === undefined)) {
    throw fault("`baseUrl` or `transport`", "exactly one of them must be given");
  }
  if (baseUrl !== undefined) checkUrl("baseUrl", baseUrl, 'such as "http://127.0.0.1:8080"');
  if (transport !== undefined && (typeof transport !== "object" || typeof transport?.unary !== "function")) {
    throw fault("`transport`", "must be a transport of Connect, such as createGrpcTransport makes");
  }
  checkCredential(credential);
  if (!Number.isInteger(deadlineMs) || deadlineMs < 1 || deadlineMs > MAX_DEADLINE_MS) {
    throw fault("`deadlineMs`", `must be a whole number from 1 to ${MAX_DEADLINE_MS}`);
  }
  if (typeof batch !== "boolean") throw fault("`batch`", "must be true or false");
  return { baseUrl, transport, credential, deadlineMs, batch, accessTokens: accessTokens(options) };
}

function accessTokens({ accessTokens: given = {}, baseUrl }: LatchkeyOptions): CheckedOptions["accessTokens"] {
  if (given === false) return undefined;
  if (typeof given !== "object" || given === null) throw fault("`accessTokens`", "must be an object or false");
  checkNames("accessTokens.", given, TOKEN_NAMES);
  const { issuer = ISSUER, audience = AUDIENCE } = given;
  for (const [name, value] of Object.entries({ issuer, audience })) {
    if (typeof value !== "string" || value === "") throw fault(`\`accessTokens.${name}\``, "must be a text");
  }
  if (given.jwksUrl !== undefined) checkUrl("accessTokens.jwksUrl", given.jwksUrl, `such as "${ISSUER}${JWKS_PATH}"`);
  const jwksUrl = given.jwksUrl ?? (baseUrl === undefined ? undefined : `${baseUrl.replace(/\/+$/, "")}${JWKS_PATH}`);
  if (jwksUrl === undefined && Object.values(given).some((value) => value !== undefined)) {
    throw fault("`accessTokens.jwksUrl`", "must be given with `transport`, because it can't be derived");
  }
  return { issuer, audience, jwksUrl };
}

function checkCredential(credential: unknown): void {
  if (typeof credential === "function" || isCredentialText(credential)) return;
  const advice = "must be a service credential such as kit_svc_..., or a function that gives one";
  const isHeader = typeof credential === "string" && /^bearer /i.test(credential);
  throw fault("`credential`", isHeader ? `${advice}; without "Bearer "` : advice);
}

function checkUrl(name: string, value: unknown, example: string): void {
  const url = typeof value === "string" && URL.canParse(value) ? new URL(value) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.username !== "" || url.password !== "") {
    throw fault(`\`${name}\``, `must be an http or https URL without user and password, ${example}`);
  }
  if (name === "baseUrl" && (url.search !== "" || url.hash !== "")) {
    throw fault(`\`${name}\``, `must have neither query nor fragment, ${example}`);
  }
}

function checkNames(path: string, given: object, known: readonly string[]): void {
  for (const name of Object.keys(given)) {
    if (known.includes(name)) continue;
    const later = path === "" ? NOT_YET.get(name) : undefined;
    if (later !== undefined) throw fault(`\`${name}\``, `this version does not have it yet (${later})`);
    throw fault(`\`${path}${name}\``, `no such option; there are ${known.map((one) => path + one).join(", ")}`);
  }
}

/** Values are never repeated: one of them is a secret. */
function fault(name: string, advice: string): TypeError {
  return new TypeError(`createLatchkey: ${name}: ${advice}`);
}
