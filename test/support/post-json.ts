import { type DescMethodUnary, fromBinary, type JsonObject } from "@bufbuild/protobuf";
import { BadRequestSchema } from "../../src/gen/google/rpc/error_details_pb.ts";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { SPEAKS_REST } from "./lane.ts";
import { type RestRequest, restPath, restRequestOfJson } from "./rest-transport.ts";

export interface JsonAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The code in lower case, the text and the wrong fields of an error; undefined for an answer with status 200. */
  readonly error: { readonly code: string; readonly message: string; readonly violations: unknown } | undefined;
}

/** Makes a call as curl does, with exactly this body where the lane can: by Connect, or by REST in a run for REST. */
export async function postJson(
  address: string,
  /** `Service/Method` */
  path: string,
  body: string | Uint8Array,
  headers: Readonly<Record<string, string>> = {},
): Promise<JsonAnswer> {
  const request = SPEAKS_REST ? restOf(path, body) : { verb: "POST", target: `/latchkey.v1.${path}`, body };
  const response = await fetch(`http://${address}${request.target}`, {
    method: request.verb,
    headers: { ...(request.body !== undefined && { "content-type": "application/json" }), ...headers },
    body: (request.body as RequestInit["body"]) ?? null,
  });
  const text = await response.text();
  const error = response.status === 200 ? undefined : errorOf(JSON.parse(text));
  return { status: response.status, headers: response.headers, text, error };
}

/** The header with a credential. */
export function bearer(credential: string): Record<string, string> {
  return { authorization: `Bearer ${credential}` };
}

function restOf(path: string, body: string | Uint8Array): Omit<RestRequest, "body"> & { body: unknown } {
  const [serviceName, name] = path.split("/");
  const service = [AdminService, AuthService, KeyService].find((one) => one.name === serviceName)!;
  const method = service.methods.find((one) => one.name === name) as DescMethodUnary;
  const whole = restPath(method);
  if (whole !== undefined) return { ...whole, body };
  const spelling = { useProtoFieldName: false, emptyId: "none" };
  const request = restRequestOfJson(method, JSON.parse(String(body)) as JsonObject, spelling);
  if (request instanceof Error) throw request;
  return request;
}

/** The error of Connect's form or of AIP-193's. */
function errorOf(answer: ConnectForm | { readonly error: AipForm }): JsonAnswer["error"] {
  if ("error" in answer) {
    const { status, message, details } = answer.error;
    const violations = details.find((detail) => detail["@type"].endsWith("BadRequest"))?.fieldViolations;
    return { code: status.toLowerCase(), message, violations };
  }
  const { code, message, details } = answer;
  const bytes = details.find(({ type }) => type === "google.rpc.BadRequest")?.value;
  const violations = bytes && fromBinary(BadRequestSchema, Buffer.from(bytes, "base64")).fieldViolations;
  return { code, message, violations };
}

interface ConnectForm {
  readonly code: string;
  readonly message: string;
  readonly details: readonly { readonly type: string; readonly value: string }[];
}

interface AipForm {
  readonly status: string;
  readonly message: string;
  readonly details: readonly { readonly "@type": string; readonly fieldViolations?: unknown }[];
}
