/** Envoy's checks, as Envoy makes them, and its reading of the answers. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { HeaderValueOption } from "../../src/gen/envoy/config/core/v3/base_pb.ts";
import { HeaderValueOption_HeaderAppendAction as Append } from "../../src/gen/envoy/config/core/v3/base_pb.ts";
import {
  type CheckRequest,
  CheckRequestSchema,
  type CheckResponse,
} from "../../src/gen/envoy/service/auth/v3/external_auth_pb.ts";

type Field = readonly [name: string, value: string];

/** A request that reached Envoy. */
export interface AskedRequest {
  readonly method?: string;
  readonly path?: string;
  /** Repeated names are joined with commas, unless `raw` is set. */
  readonly headers?: readonly Field[];
  /** As with `encode_raw_headers`: each field by itself, its value as bytes. */
  readonly raw?: boolean;
  readonly address?: string;
  /** context_extensions of the route. */
  readonly route?: Readonly<Record<string, string>>;
}

/** The message that Envoy sends for a request. */
export function checkOf(asked: AskedRequest): CheckRequest {
  const { method = "GET", path = "/orders/7?page=2", headers = [], raw = false, address = "192.0.2.7" } = asked;
  const all: Field[] = [[":method", method], [":path", path], [":authority", "shop.example"], ...headers];
  const http = { method, path, host: "shop.example", scheme: "http", protocol: "HTTP/1.1", ...headersOf(all, raw) };
  const source = { address: { address: { case: "socketAddress" as const, value: { address } } } };
  const attributes = { source, request: { http }, contextExtensions: { ...asked.route } };
  return create(CheckRequestSchema, { attributes });
}

function headersOf(fields: readonly Field[], raw: boolean): Pick<HttpInit, "headers" | "headerMap"> {
  if (raw) {
    return { headerMap: { headers: fields.map(([key, value]) => ({ key, rawValue: Buffer.from(value, "latin1") })) } };
  }
  const headers: Record<string, string> = {};
  for (const [name, value] of fields) headers[name] = name in headers ? `${headers[name]},${value}` : value;
  return { headers };
}

type HttpInit = NonNullable<
  NonNullable<NonNullable<MessageInitShape<typeof CheckRequestSchema>["attributes"]>["request"]>["http"]
>;

/** Envoy's deeds after an answer. */
export interface Done {
  readonly admitted: boolean;
  /** google.rpc.Code. */
  readonly code: number;
  /** Of a refused request. */
  readonly status: number | undefined;
  /** Fields of the response: all of a refused request, those added to another. Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** Set on the request to the upstream. */
  readonly set: Readonly<Record<string, string>>;
  readonly removed: readonly string[];
  readonly metadata: unknown;
}

/** Reads an answer. Envoy overwrites each header, and so must the answer say. */
export function doneBy({ status, httpResponse, dynamicMetadata }: CheckResponse): Done {
  const base = { code: status!.code, metadata: dynamicMetadata, status: undefined, body: "", set: {}, removed: [] };
  if (httpResponse.case === "okResponse") {
    const { headers, headersToRemove, responseHeadersToAdd } = httpResponse.value;
    const changes = { set: fieldsOf(headers), removed: headersToRemove, headers: fieldsOf(responseHeadersToAdd) };
    return { ...base, ...changes, admitted: status!.code === 0 };
  }
  if (httpResponse.case !== "deniedResponse") throw new Error("an answer without a response");
  const { status: http, headers, body } = httpResponse.value;
  return { ...base, admitted: false, status: http!.code, headers: fieldsOf(headers), body };
}

function fieldsOf(options: readonly HeaderValueOption[]): Record<string, string> {
  return Object.fromEntries(
    options.map(({ header, appendAction }) => {
      if (appendAction !== Append.OVERWRITE_IF_EXISTS_OR_ADD) throw new Error(`${header!.key} is not overwritten`);
      return [header!.key.toLowerCase(), header!.value];
    }),
  );
}

/** The headers that the upstream gets, in lower case. Envoy sets first, and removes afterwards. */
export function forwarded(headers: readonly Field[], { set, removed }: Done): Record<string, string> {
  const sent = new Map([
    ...headers.map(([name, value]) => [name.toLowerCase(), value] as const),
    ...Object.entries(set),
  ]);
  for (const name of removed) sent.delete(name.toLowerCase());
  return Object.fromEntries(sent);
}
