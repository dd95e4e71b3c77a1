import { type DescField, type DescMessage, getOption } from "@bufbuild/protobuf";
import { http } from "../../gen/google/api/annotations_pb.ts";
import type { HttpRule } from "../../gen/google/api/http_pb.ts";
import type { Route, UnaryRoute } from "../routes.ts";
import { fieldsOfPath } from "./field-path.ts";
import { type PathTemplate, parseTemplate } from "./path-template.ts";

/** An HTTP method that the contract can name. */
export type HttpMethod = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

/** One RPC as a REST resource's method, read from its `google.api.http` annotation. */
export interface RestRoute {
  readonly rpc: UnaryRoute;
  readonly httpMethod: HttpMethod;
  readonly template: PathTemplate;
  /** For each variable of the template, in order: the fields from the request message to the value. */
  readonly variables: readonly (readonly DescField[])[];
  readonly body: RestBody;
}

/** The part of the request message that the body is: all of it, one field, or nothing. */
export type RestBody =
  | { readonly kind: "whole" }
  | { readonly kind: "field"; readonly field: DescField & { readonly message: DescMessage } }
  | { readonly kind: "none" };

/**
 * The REST route of an RPC; undefined for an RPC without an annotation.
 *
 * @throws {Error} for an annotation that this room can't serve: the service must not start with a path that fails
 */
export function restRoute(rpc: Route): RestRoute | undefined {
  const rule = getOption(rpc.method, http);
  if (rule.pattern.case === undefined) return undefined;
  try {
    return routeOf(rpc, rule);
  } catch (error) {
    throw new Error(`${rpc.name}: ${(error as Error).message}`);
  }
}

function routeOf(rpc: Route, rule: HttpRule): RestRoute {
  if (rpc.kind !== "unary") throw new Error("a stream has no REST");
  if (rule.additionalBindings.length > 0 || rule.responseBody !== "") {
    throw new Error("additional_bindings and response_body are not supported");
  }
  const { case: kind, value } = rule.pattern;
  if (kind === undefined || kind === "custom") throw new Error("custom methods of HTTP are not supported");
  const template = parseTemplate(value);
  const { input } = rpc.method;
  const variables = template.segments.flatMap((segment) =>
    "variable" in segment ? [variableFields(input, segment.variable)] : [],
  );
  const body = bodyOf(input, rule.body);
  if ((kind === "get" || kind === "delete") && body.kind !== "none") throw new Error(`${kind} takes no body`);
  return { rpc, httpMethod: kind.toUpperCase() as HttpMethod, template, variables, body };
}

function variableFields(input: DescMessage, path: string): readonly DescField[] {
  const fields = fieldsOfPath(input, path);
  const last = fields?.at(-1);
  const isText = last?.fieldKind === "scalar" && last.oneof === undefined;
  if (fields === undefined || !isText) throw new Error(`{${path}} is not a scalar field of ${input.typeName}`);
  return fields;
}

function bodyOf(input: DescMessage, body: string): RestBody {
  if (body === "") return { kind: "none" };
  if (body === "*") return { kind: "whole" };
  const field = input.fields.find(({ name }) => name === body);
  if (field?.fieldKind !== "message") throw new Error(`the body ${body} is not a message of ${input.typeName}`);
  return { kind: "field", field };
}
