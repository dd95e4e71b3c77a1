/** One request put to both: the service's REST lane, and Envoy's transcoder. Each side has people and keys of its own. */
import { request as httpRequest, type IncomingMessage } from "node:http";
import { text } from "node:stream/consumers";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { clientOf, PASSWORD } from "../support/clients.ts";
import type { RunningService } from "./running-service.ts";

/** The caller of a request. */
export type As = "anonymous" | "owner" | "verifier" | "admin";

/**
 * A request. `$name` in path and body stands for the side's own value. A body has `content-type: application/json`
 * unless the headers have another, or an empty one for none.
 */
export type Row = readonly [
  name: string,
  as: As,
  request: string,
  body?: string,
  headers?: Readonly<Record<string, string | string[]>>,
];

/** One of the two: where it listens, and what its requests are about. */
export interface Side {
  readonly port: number;
  readonly credentials: Readonly<Record<As, string | undefined>>;
  readonly values: Readonly<Record<string, string>>;
}

export interface Answer {
  readonly status: number;
  /** The message, or for an error its gRPC code, message and details. Without values that differ from call to call. */
  readonly body: unknown;
  /** Whether the service gave the answer, and not Envoy. */
  readonly isOfService: boolean;
}

/** Makes a person with sessions, keys and a credential, through gRPC. */
export async function sideOf(service: RunningService, port: number, name: string): Promise<Side> {
  const email = `${name}@example.com`;
  const people = clientOf(service.address, AuthService);
  const { user, tokens } = await people.register({ email, password: PASSWORD, displayName: "Ann" });
  const other = await people.login({ email, password: PASSWORD });
  const { sessions } = await clientOf(service.address, AuthService, tokens!.accessToken).listSessions({});
  const keys = clientOf(service.address, KeyService, service.admin);
  const issue = (fields: object) => keys.issueKey({ name: "a key", ownerId: user!.id, ...fields });
  const limits = { perMinute: 1_000_000, perDay: 1_000_000 };
  const key = await issue({ scopes: ["a", "b"], metadata: { team: "blue" }, limits });
  const limited = await issue({ limits: { perMinute: 2, perDay: 100 } });
  const spare = await issue({});
  const doomed = await issue({});
  const admin = clientOf(service.address, AdminService, service.admin);
  const { credential } = await admin.issueServiceCredential({ name: "spare", scopes: ["verify"] });
  return {
    port,
    credentials: { anonymous: undefined, owner: tokens!.accessToken, verifier: service.verifier, admin: service.admin },
    values: {
      email,
      user: user!.id,
      session: sessions.find(({ current }) => !current)!.id,
      refresh: other.tokens!.refreshToken,
      key: key.key!.id,
      raw: key.apiKey,
      limited: limited.apiKey,
      limitedId: limited.key!.id,
      spare: spare.key!.id,
      doomed: doomed.key!.id,
      credential: credential!.id,
      subject: `subject of ${name}`,
    },
  };
}

/** Sends a request, and returns its answer in a form in which both sides' answers are the same. */
export async function ask(side: Side, [, as, request, body, headers = {}]: Row): Promise<Answer> {
  const [method, path] = request.split(" ") as [string, string];
  const sent = { host: "api.example.com", ...(body && { "content-type": "application/json" }), ...headers };
  const credential = side.credentials[as];
  if (credential !== undefined) Object.assign(sent, { authorization: `Bearer ${credential}` });
  for (const [name, value] of Object.entries(sent)) if (value === "") delete sent[name as keyof typeof sent];
  const bytes = Buffer.from(filled(body ?? "", side));
  const options = { host: "127.0.0.1", port: side.port, method, path: filled(path, side), headers: sent, agent: false };
  const outgoing = httpRequest(options);
  if (bytes.length > 0) outgoing.setHeader("content-length", bytes.length);
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    outgoing.once("response", resolve).once("error", reject).end(bytes);
  });
  const isEnvoy = response.headers.server === "envoy";
  return {
    status: response.statusCode!,
    body: comparable(await text(response)),
    isOfService: !isEnvoy || response.headers["x-envoy-upstream-service-time"] !== undefined,
  };
}

function filled(text: string, { values }: Side): string {
  return text.replaceAll(/\$([a-zA-Z]+)/g, (whole, name) => values[name] ?? whole);
}

/** Fields whose values are new with each call. */
const VOLATILE = /^(position|epoch|etag|prefix|nextPageToken|totalSize|remaining|refreshToken|accessToken|resetToken)$/;
/** Parts of texts that are new with each call, or belong to one side. */
const OWN: readonly (readonly [RegExp, string])[] = [
  [/^\d{4}-\d\d-\d\dT[\d:.]+Z$/, "<time>"],
  [/^-?\d+(\.\d+)?s$/, "<duration>"],
  [/\b(key|usr|ses|svc|evt|sig)_[0-9A-Za-z]{16}\b/g, "<$1>"],
  [/kit_[a-z]+_\w{65}/g, "<secret>"],
  [/[\w-]+@example\.com/g, "<email>"],
  [/subject of \w+/g, "<subject>"],
];

/** The number of each gRPC code, by its name. */
const CODES =
  "OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS UNAUTHENTICATED".split(
    " ",
  );

/** An error of the service is `{"error": ...}` (AIP-193), and one of Envoy is the google.rpc.Status alone. */
function comparable(text: string): unknown {
  if (!/^[{[]/.test(text)) return text;
  const json = JSON.parse(text, (name, value) => {
    if (typeof value !== "string" && typeof value !== "number") return value;
    if (VOLATILE.test(name)) return value ? "<volatile>" : value;
    return typeof value === "string" ? OWN.reduce((all, [pattern, word]) => all.replace(pattern, word), value) : value;
  });
  if (json.error?.status === undefined) return json;
  const { status, message, details } = json.error;
  return { code: CODES.indexOf(status), message, details };
}
