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

export interface RestTransportOptions {
  readonly interceptors?: Interceptor[];
  /** Makes the streaming calls. */
  readonly streams: Transport;
}

/** A request of REST for a call. */
interface RestRequest {
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
export function createRestTransport(address: string, { interceptors, streams }: RestTransportOptions): Transport {
  const agent = new Agent({ keepAlive: true });
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
          const request = restRequest(method, message, calls++ % 2 === 0);
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
    stream: (...call) => streams.stream(...call),
  };
}

/** The request for a call. @throws {Error} for a message that JSON or a URL can't express */
function restRequest(method: DescMethodUnary, message: Message, useProtoFieldName: boolean): RestRequest {
  const { pattern, body } = getOption(method, http);
  if (pattern.case === undefined || pattern.case === "custom") throw new Error(`${method.name} has no REST path`);
  const json = toJson(method.input, message, { registry, useProtoFieldName }) as JsonObject;
  const path = pattern.value.replace(/\{([a-z_.]+)\}/g, (_variable, name: string) =>
    encodeURIComponent(taken(json, name.split("."), useProtoFieldName)),
  );
  const verb = pattern.case.toUpperCase();
  if (body === "*") return { verb, target: path, body: JSON.stringify(json) };
  const rest = { ...json };
  const resource = body === "" ? undefined : rest[body];
  delete rest[body];
  for (const name of ["update_mask", "updateMask"]) {
    if (name in rest) rest[name] = maskText(message, useProtoFieldName);
  }
  const query = Object.entries(rest).flatMap(([name, value]) =>
    [value].flat().map((one) => `${name}=${encodeURIComponent(String(one))}`),
  );
  const target = query.length === 0 ? path : `${path}?${query.join("&")}`;
  return { verb, target, body: body === "" ? undefined : JSON.stringify(resource ?? {}) };
}

/** Takes the value at a path out of a JSON object. */
function taken(json: JsonObject, [name, ...rest]: string[], useProtoFieldName: boolean): string {
  const key = useProtoFieldName ? name! : camel(name!);
  const value = json[key];
  if (rest.length > 0) return taken((value ?? {}) as JsonObject, rest, useProtoFieldName);
  delete json[key];
  return String((value as JsonValue | undefined) ?? "");
}

function maskText(message: Message, useProtoFieldName: boolean): string {
  const { paths } = (message as Message & { updateMask: FieldMask }).updateMask;
  return paths.map((path) => (useProtoFieldName ? path : camel(path))).join(",");
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
