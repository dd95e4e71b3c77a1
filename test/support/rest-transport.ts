/**
 * A Connect transport that makes unary calls by REST, from the contract's annotations alone: it shares no code with the
 * service's REST lane. Streams, which have no REST, go by another transport. This file needs no test runner.
 */
import { Agent, request as httpRequest, type IncomingHttpHeaders } from "node:http";
import {
  create,
  createRegistry,
  type DescMethodUnary,
  fromJson,
  fromJsonString,
  getOption,
  type JsonObject,
  type JsonValue,
  type Message,
  type MessageInitShape,
  toJson,
} from "@bufbuild/protobuf";
import { AnySchema, type FieldMask } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createContextValues, type Interceptor, type Transport } from "@connectrpc/connect";
import { runUnaryCall } from "@connectrpc/connect/protocol";
import { http } from "../../src/gen/google/api/annotations_pb.ts";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  QuotaFailureSchema,
  RetryInfoSchema,
} from "../../src/gen/google/rpc/error_details_pb.ts";

const registry = createRegistry(ErrorInfoSchema, BadRequestSchema, QuotaFailureSchema, RetryInfoSchema);

/**
 * Messages that REST can't say. Such a call goes by `other`, because its answer is a promise like any other.
 * Nothing else goes there, so a call that a test can say in REST is made by REST.
 */
const UNSAYABLE = {
  emptyId: "a path has no empty segment, so an id in a path is never empty",
  noPath: "the services of other contracts, such as Envoy's, have no REST",
  longId: "a path has at most 1,024 characters",
  noJson: "JSON has no times outside of the years 1 to 9999, and no durations whose parts differ in sign",
  noText: "JSON and URLs have no lone surrogates",
  tooLong: "JSON is longer than protobuf, so the largest batch of the largest requests exceeds the limit for a body",
} as const;

export class Unsayable extends Error {
  constructor(reason: keyof typeof UNSAYABLE) {
    super(UNSAYABLE[reason]);
  }
}

const MAX_PATH_LENGTH = 1024;
const MAX_BODY_BYTES = 256 * 1024;
/** A thousand calls at once share these connections, as those of a gRPC client share one. */
const MAX_CONNECTIONS = 32;

export interface RestTransportOptions {
  readonly interceptors?: Interceptor[];
  /** Makes the streaming calls, and those that REST can't say. */
  readonly other: Transport;
  /** Stands for an empty id in a path. Default: such a call goes by `other`. */
  readonly emptyId?: string;
}

/** A request of REST for a call. */
export interface RestRequest {
  readonly verb: string;
  /** With the query. */
  readonly target: string;
  readonly body: string | undefined;
}

interface RestResponse {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

/** @param address `host:port` */
export function createRestTransport(
  address: string,
  { interceptors, other, emptyId }: RestTransportOptions,
): Transport {
  const agent = new Agent({ keepAlive: true, maxSockets: MAX_CONNECTIONS });
  let calls = 0;
  return {
    unary: (method, signal, timeoutMs, header, input, contextValues) =>
      runUnaryCall({
        ...(interceptors && { interceptors }),
        ...(timeoutMs !== undefined && { timeoutMs }),
        ...(signal && { signal }),
        req: {
          stream: false as const,
          service: method.parent,
          method,
          requestMethod: "POST",
          url: `http://${address}`,
          header: new Headers(header),
          contextValues: contextValues ?? createContextValues(),
          message: create(method.input, input) as MessageInitShape<typeof method.input>,
        },
        next: async ({ header, message, signal }) => {
          // Both spellings of fields, in turn.
          const request = restRequest(method, message, { useProtoFieldName: calls++ % 2 === 0, emptyId });
          if (request instanceof Unsayable) {
            return other.unary(method, signal, timeoutMs, header, message as MessageInitShape<typeof method.input>);
          }
          if (timeoutMs !== undefined) header.set("grpc-timeout", `${Math.max(1, Math.round(timeoutMs))}m`);
          const response = await send({ agent, address, header, signal }, request);
          const headers = headersOf(response.headers);
          if (response.status !== 200) throw errorOf(response, headers);
          return {
            stream: false as const,
            service: method.parent,
            method,
            header: headers,
            trailer: new Headers(),
            message: fromJsonString(method.output, response.text, { registry }),
          };
        },
      }),
    stream: (...call) => other.stream(...call),
  };
}

export interface Spelling {
  readonly useProtoFieldName: boolean;
  /** Stands for an empty id in a path. Undefined: then there is no request. */
  readonly emptyId: string | undefined;
}

/** The request for a call, or the reason why there is none. */
export function restRequest(method: DescMethodUnary, message: Message, spelling: Spelling): RestRequest | Unsayable {
  const { useProtoFieldName } = spelling;
  // A mask may have any text, which JSON's form of a mask can't express.
  const { updateMask, ...rest } = message as Message & { updateMask?: FieldMask };
  let json: JsonObject;
  try {
    json = toJson(method.input, rest, { registry, useProtoFieldName }) as JsonObject;
  } catch (error) {
    return new Unsayable(/Timestamp|Duration/.test(String(error)) ? "noJson" : "noText");
  }
  const paths = updateMask?.paths.map((path) => (useProtoFieldName ? path : camel(path)));
  if (paths !== undefined) json[useProtoFieldName ? "update_mask" : "updateMask"] = paths.join(",");
  return restRequestOfJson(method, json, spelling);
}

/** The same for a request message that is JSON already. */
export function restRequestOfJson(
  method: DescMethodUnary,
  json: JsonObject,
  { useProtoFieldName, emptyId = "" }: Spelling,
): RestRequest | Unsayable {
  if (method.parent.file.proto.package !== "latchkey.v1") return new Unsayable("noPath");
  const { pattern, body } = getOption(method, http);
  if (pattern.case === undefined || pattern.case === "custom") throw new Error(`${method.name} has no REST path`);
  const ids = [...pattern.value.matchAll(VARIABLE)].map(([, name]) => taken(json, name!.split("."), useProtoFieldName));
  const segments = ids.map((id) => id || emptyId);
  if (segments.includes("")) return new Unsayable("emptyId");
  if (!segments.every((id) => id.isWellFormed())) return new Unsayable("noText");
  const path = pattern.value.replace(VARIABLE, () => encodeURIComponent(segments.shift()!));
  if (path.length > MAX_PATH_LENGTH) return new Unsayable("longId");
  const verb = pattern.case.toUpperCase();
  const resource = body === "*" ? json : json[body];
  const text = body === "" ? undefined : JSON.stringify(resource ?? {});
  if (text !== undefined && Buffer.byteLength(text) > MAX_BODY_BYTES) return new Unsayable("tooLong");
  if (body === "*") return { verb, target: path, body: text };
  return {
    verb,
    target: withQuery(
      path,
      Object.entries(json).filter(([name]) => name !== body),
    ),
    body: text,
  };
}

/** The request line of a method whose request is the whole body and nothing else; undefined for the others. */
export function restPath(method: DescMethodUnary): Pick<RestRequest, "verb" | "target"> | undefined {
  const { pattern, body } = getOption(method, http);
  if (body !== "*" || pattern.case !== "post" || pattern.value.includes("{")) return undefined;
  return { verb: "POST", target: pattern.value };
}

const VARIABLE = /\{([a-z_.]+)\}/g;

function withQuery(path: string, fields: readonly [string, JsonValue][]): string {
  const query = fields.flatMap(([name, value]) =>
    [value].flat().map((one) => `${name}=${encodeURIComponent(String(one))}`),
  );
  return query.length === 0 ? path : `${path}?${query.join("&")}`;
}

/** Takes the value at a path out of a JSON object. */
function taken(json: JsonObject, [name, ...rest]: string[], useProtoFieldName: boolean): string {
  const key = useProtoFieldName ? name! : camel(name!);
  const value = json[key];
  if (rest.length > 0) return taken((value ?? {}) as JsonObject, rest, useProtoFieldName);
  delete json[key];
  return String((value as JsonValue | undefined) ?? "");
}

function camel(name: string): string {
  return name.replaceAll(/_(.)/g, (_match, letter: string) => letter.toUpperCase());
}

interface Sending {
  readonly agent: Agent;
  readonly address: string;
  readonly header: Headers;
  readonly signal: AbortSignal;
}

function send({ agent, address, header, signal }: Sending, { verb, target, body }: RestRequest): Promise<RestResponse> {
  if (body !== undefined) header.set("content-type", "application/json");
  return new Promise((resolve, reject) => {
    const options = { agent, method: verb, path: target, headers: Object.fromEntries(header), signal };
    const request = httpRequest(`http://${address}`, options, (response) => {
      const pieces: Buffer[] = [];
      response.on("data", (piece: Buffer) => pieces.push(piece));
      response.on("error", reject);
      response.on("end", () =>
        resolve({
          status: response.statusCode!,
          headers: response.headers,
          text: Buffer.concat(pieces).toString("utf8"),
        }),
      );
    });
    request.on("error", (error) => reject(signal.aborted ? ConnectError.from(signal.reason) : error));
    request.end(body);
  });
}

function headersOf(received: IncomingHttpHeaders): Headers {
  return new Headers(Object.entries(received).map(([name, value]) => [name, String(value)]));
}

/** The error of an answer in the form of AIP-193, as a gRPC client would see it. */
function errorOf({ status, text }: RestResponse, headers: Headers): ConnectError {
  const { error } = JSON.parse(text) as {
    error: { code: number; status: string; message: string; details: JsonValue[] };
  };
  if (error.code !== status) throw new Error(`HTTP ${status} with the code ${error.code}`);
  const connectError = new ConnectError(error.message, codeOf(error.status), headers);
  connectError.details = error.details.map((detail) => {
    const { typeUrl, value } = fromJson(AnySchema, detail, { registry });
    return { type: typeUrl.slice(typeUrl.indexOf("/") + 1), value };
  });
  return connectError;
}

/** `NOT_FOUND` is `Code.NotFound`. */
function codeOf(status: string): Code {
  const name = camel(`_${status.toLowerCase()}`).replace("Cancelled", "Canceled");
  return Code[name as keyof typeof Code];
}
