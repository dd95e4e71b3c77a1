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

/** Options of verification in this process. */
export interface NearOptions {
  /** Maximum keys that are kept, 1 to 10,000,000. Default 100,000. */
  readonly maxKeys?: number | undefined;
  /** Maximum bytes that the kept keys are estimated to take, from 65,536. Default 64 MiB. */
  readonly maxBytes?: number | undefined;
  /** Maximum age of a kept key that is used while the service answers, 1 to 5,000 ms. Default 5,000. */
  readonly maxStalenessMs?: number | undefined;
  /**
   * Maximum age of a kept key that is used while the service is unreachable: above `maxStalenessMs`, at most 300,000
   * ms. A key that is revoked meanwhile is accepted for that time. Default 0: none is used.
   */
  readonly staleOkMs?: number | undefined;
  /**
   * How limits are counted. `exact`, the default: by a call before the verdict. `after`: by a report after it. Then a
   * window of L may admit up to (processes - 1) × 0.9 L too many, and the cost of each report that is lost.
   */
  readonly counting?: "exact" | "after" | undefined;
}

/** A TLS client certificate that stands for a service credential, as PEM. */
export interface ClientCertificate {
  /** The certificate, with its chain of intermediate authorities. */
  readonly cert: string;
  readonly key: string;
}

export interface LatchkeyOptions {
  /** The service's URL, such as "http://127.0.0.1:8080". Either this or `transport`. */
  readonly baseUrl?: string | undefined;
  /** Any transport of Connect, in place of the gRPC transport that `baseUrl` makes. */
  readonly transport?: Transport | undefined;
  /**
   * A service credential with the scope `verify`, or a function that gives it and is asked again when it is refused.
   * Needed unless `clientCertificate` stands for one. If both are given, the service judges `credential` alone.
   */
  readonly credential?: CredentialSource | undefined;
  /**
   * A certificate for the connections to an https `baseUrl`, or a function that gives it for each new connection. The
   * function must not wait. NODE_EXTRA_CA_CERTS names the authorities of the service's own certificate.
   */
  readonly clientCertificate?: ClientCertificate | (() => ClientCertificate) | undefined;
  /** Time for one verdict, 1 to 60,000 ms. Default 1,000. */
  readonly deadlineMs?: number | undefined;
  /** Whether calls of one turn of the event loop go as one. Default true. */
  readonly batch?: boolean | undefined;
  /** Whether keys are judged in this process once the service has judged them, and how. Default false. */
  readonly near?: boolean | NearOptions | undefined;
  /** Default: as the service's own defaults. `false`: access tokens are not verified. */
  readonly accessTokens?: AccessTokenOptions | false | undefined;
}

/** Options of near verification with their defaults. */
export type CheckedNearOptions = { readonly [Name in keyof NearOptions]-?: Exclude<NearOptions[Name], undefined> };

/** Options with their defaults. */
export interface CheckedOptions {
  readonly baseUrl: string | undefined;
  readonly transport: Transport | undefined;
  readonly credential: CredentialSource | undefined;
  /** Gives the certificate for each new connection; undefined without one. */
  readonly clientCertificate: (() => ClientCertificate) | undefined;
  readonly deadlineMs: number;
  readonly batch: boolean;
  /** undefined: each verdict is a call. */
  readonly near: CheckedNearOptions | undefined;
  /** `jwksUrl` is undefined where it can't be known. */
  readonly accessTokens:
    | { readonly issuer: string; readonly audience: string; readonly jwksUrl: string | undefined }
    | undefined;
}

const NAMES = [
  ...["baseUrl", "transport", "credential", "clientCertificate", "deadlineMs", "batch", "near", "accessTokens"],
] as const;
const TOKEN_NAMES = ["issuer", "audience", "jwksUrl"] as const;
const NEAR_NAMES = ["maxKeys", "maxBytes", "maxStalenessMs", "staleOkMs", "counting"] as const;
const NEAR_DEFAULTS: CheckedNearOptions = Object.freeze({
  maxKeys: 100_000,
  maxBytes: 64 * 1024 * 1024,
  maxStalenessMs: 5000,
  staleOkMs: 0,
  counting: "exact",
});
/** Smallest and largest value of each number in them. */
const NEAR_RANGES = {
  maxKeys: [1, 10_000_000],
  maxBytes: [65_536, Number.MAX_SAFE_INTEGER],
  maxStalenessMs: [1, 5000],
  staleOkMs: [0, 300_000],
} as const;
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
  const clientCertificate = clientCertificateOf(options);
  if (credential !== undefined || clientCertificate === undefined) checkCredential(credential);
  if (!Number.isInteger(deadlineMs) || deadlineMs < 1 || deadlineMs > MAX_DEADLINE_MS) {
    throw fault("`deadlineMs`", `must be a whole number from 1 to ${MAX_DEADLINE_MS}`);
  }
  if (typeof batch !== "boolean") throw fault("`batch`", "must be true or false");
  const near = nearOptions(options.near);
  const checked = { baseUrl, transport, credential, clientCertificate, deadlineMs, batch, near };
  return { ...checked, accessTokens: accessTokens(options) };
}

function clientCertificateOf({ clientCertificate, baseUrl }: LatchkeyOptions): CheckedOptions["clientCertificate"] {
  if (clientCertificate === undefined) return undefined;
  if (baseUrl === undefined || new URL(baseUrl).protocol !== "https:") {
    throw fault("`clientCertificate`", "needs a `baseUrl` with https, because a certificate is shown in TLS");
  }
  if (typeof clientCertificate === "function") return clientCertificate;
  const { cert, key } = clientCertificate;
  if (typeof cert !== "string" || typeof key !== "string") {
    throw fault("`clientCertificate`", "must have `cert` and `key` as PEM, or be a function that gives them");
  }
  return () => clientCertificate;
}

function nearOptions(given: unknown = false): CheckedNearOptions | undefined {
  if (given === false) return undefined;
  if (given === true) return NEAR_DEFAULTS;
  if (typeof given !== "object" || given === null) throw fault("`near`", "must be true, false or an object");
  checkNames("near.", given, NEAR_NAMES);
  const set = Object.entries(given).filter(([, value]) => value !== undefined);
  const near = Object.freeze({ ...NEAR_DEFAULTS, ...(Object.fromEntries(set) as NearOptions) }) as CheckedNearOptions;
  for (const name of ["maxKeys", "maxBytes", "maxStalenessMs", "staleOkMs"] as const) {
    const [least, most] = NEAR_RANGES[name];
    if (!Number.isSafeInteger(near[name]) || near[name] < least || near[name] > most) {
      throw fault(`\`near.${name}\``, `must be a whole number from ${least} to ${most}`);
    }
  }
  if (near.counting !== "exact" && near.counting !== "after") {
    throw fault("`near.counting`", 'must be "exact" or "after"');
  }
  if (near.staleOkMs > 0 && near.staleOkMs <= near.maxStalenessMs) {
    throw fault("`near.staleOkMs`", "must be 0, or above `near.maxStalenessMs`: below it, it allows nothing more");
  }
  return near;
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
    throw fault(`\`${path}${name}\``, `no such option; there are ${known.map((one) => path + one).join(", ")}`);
  }
}

/** Values are never repeated: one of them is a secret. */
function fault(name: string, advice: string): TypeError {
  return new TypeError(`createLatchkey: ${name}: ${advice}`);
}
