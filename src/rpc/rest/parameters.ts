import {
  type DescEnum,
  type DescField,
  type DescMessage,
  type JsonValue,
  type Message,
  mergeFromJson,
  ScalarType,
} from "@bufbuild/protobuf";
import { DomainError, invalidField } from "../../lib/errors.ts";
import { JSON_OPTIONS } from "../lanes/json-options.ts";
import { fieldsOfPath, pathOfFields } from "./field-path.ts";
import type { RestRoute } from "./rest-route.ts";

/** A value from the path or the query, and the fields that lead to its place in the request message. */
interface Parameter {
  readonly fields: readonly DescField[];
  /** In the form of proto3 JSON. */
  readonly json: JsonValue;
}

/** The values of a request outside of its body. */
export interface Parameters {
  readonly path: readonly Parameter[];
  readonly query: readonly Parameter[];
}

/**
 * Reads the path's variables and the query. Nothing of their text appears in an error, because it may be a key.
 *
 * @param values the segments that stand for the template's variables, percent-encoded
 * @param query without `?`; empty for none
 * @throws {DomainError} MESSAGE_INVALID for a bad escape, for an unknown query field, for a field that is not repeated
 * and comes twice, or for a query that has no place because the body is the whole message
 */
export function readParameters(route: RestRoute, values: readonly string[], query: string): Parameters {
  const path = route.variables.map((fields, n) => ({ fields, json: jsonOf(fields, decoded(values[n]!)) }));
  return { path, query: readQuery(route, query) };
}

/**
 * Puts the values into a message that already has what the body says.
 *
 * @throws {DomainError} MESSAGE_INVALID for a value that its field can't have, or INVALID_FIELD for a field of the path
 * that has another value in the body
 */
export function addParameters(message: Message, input: DescMessage, { path, query }: Parameters): void {
  for (const parameter of path) {
    const inBody = valueAt(message, parameter.fields);
    merge(message, input, parameter);
    if (isSet(inBody) && inBody !== valueAt(message, parameter.fields)) {
      throw invalidField(pathOfFields(parameter.fields), "must be absent in the body, or the same as in the path");
    }
  }
  for (const parameter of query) merge(message, input, parameter);
}

function readQuery({ rpc, body, variables }: RestRoute, query: string): Parameter[] {
  const { input } = rpc.method;
  const pairs = query.split("&").filter((pair) => pair !== "");
  if (pairs.length > 0 && body.kind === "whole") {
    throw new DomainError("MESSAGE_INVALID", "this path takes no query; send the fields in the body");
  }
  const elsewhere = new Set(variables.map(pathOfFields));
  const seen = new Set<string>();
  return pairs.map((pair) => {
    const equals = pair.indexOf("=");
    const fields = fieldsOfPath(input, decoded(equals < 0 ? pair : pair.slice(0, equals)));
    const isInBody = body.kind === "field" && fields?.[0] === body.field;
    if (fields === undefined || isInBody || elsewhere.has(pathOfFields(fields)) || !isBindable(fields.at(-1)!)) {
      throw new DomainError(
        "MESSAGE_INVALID",
        `the query has a field that can't be set there; check the names of its fields with ${input.typeName}`,
      );
    }
    noteOnce(seen, fields);
    return { fields, json: jsonOf(fields, decoded(equals < 0 ? "" : pair.slice(equals + 1))) };
  });
}

/** @throws {DomainError} MESSAGE_INVALID if a field that is not repeated, or another of its oneof, has come before */
function noteOnce(seen: Set<string>, fields: readonly DescField[]): void {
  const last = fields.at(-1)!;
  if (last.fieldKind === "list") return;
  const names = [pathOfFields(fields)];
  if (last.oneof !== undefined) names.push(`${pathOfFields(fields.slice(0, -1))} oneof ${last.oneof.name}`);
  if (names.some((name) => seen.has(name))) throw invalidValue(fields, "must come once");
  for (const name of names) seen.add(name);
}

/** Messages that proto3 JSON writes as a string. The fields of other messages have names of their own in a query. */
const AS_STRING: ReadonlySet<string> = new Set([
  "google.protobuf.Timestamp",
  "google.protobuf.Duration",
  "google.protobuf.FieldMask",
]);

/** Whether one text can be a value of the field. */
function isBindable(field: DescField): boolean {
  if (field.fieldKind === "map") return false;
  return field.message === undefined || AS_STRING.has(field.message.typeName);
}

/** The text of a value as proto3 JSON: numbers may be strings there, but booleans may not. */
function jsonOf(fields: readonly DescField[], text: string): JsonValue {
  const field = fields.at(-1)!;
  // The JSON format takes exponents, and protobuf-es takes hexadecimal numbers and blanks.
  if (isInteger(field.scalar) && !/^[+-]?\d{1,20}$/.test(text)) throw invalidValue(fields, "must be a whole number");
  const json = jsonOfOne(field, text);
  return field.fieldKind === "list" ? [json] : json;
}

function jsonOfOne(field: DescField, text: string): JsonValue {
  if (field.enum !== undefined) return enumJson(field.enum, text);
  if (field.message?.typeName === "google.protobuf.FieldMask") return text.replaceAll(/_([a-z])/g, upperCase);
  if (field.scalar === ScalarType.BOOL && (text === "true" || text === "false")) return text === "true";
  return text;
}

function isInteger(scalar: ScalarType | undefined): boolean {
  switch (scalar) {
    case undefined:
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
    case ScalarType.BOOL:
    case ScalarType.STRING:
    case ScalarType.BYTES:
      return false;
    default:
      return true;
  }
}

function enumJson(desc: DescEnum, text: string): JsonValue {
  return /^-?\d{1,10}$/.test(text) && !desc.values.some(({ name }) => name === text) ? Number(text) : text;
}

/** A path of a field mask may have the contract's names or JSON's. JSON's is the one that the JSON format knows. */
function upperCase(_match: string, letter: string): string {
  return letter.toUpperCase();
}

function merge(message: Message, input: DescMessage, { fields, json }: Parameter): void {
  const nested = fields.reduceRight<JsonValue>((inner, { name }) => ({ [name]: inner }), json);
  try {
    mergeFromJson(input, message as never, nested, JSON_OPTIONS);
  } catch {
    throw invalidValue(fields, "must have a value of the field's type");
  }
}

function invalidValue(fields: readonly DescField[], description: string): DomainError {
  return new DomainError("MESSAGE_INVALID", "a value in the path or the query is wrong; check it and its encoding", {
    violations: [{ field: pathOfFields(fields), description }],
  });
}

/**
 * Undoes percent-encoding (RFC 3986, 2.1). A plus stays a plus: as a blank it would change e-mail addresses and the
 * offsets of times, and no field that a query can set has blanks.
 */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new DomainError(
      "MESSAGE_INVALID",
      "the path or the query has an escape that is not UTF-8 after a percent sign",
    );
  }
}

function valueAt(message: Message, fields: readonly DescField[]): unknown {
  let value: unknown = message;
  for (const { localName } of fields) value = (value as Record<string, unknown> | undefined)?.[localName];
  return value;
}

/** Whether a scalar has a value. In proto3 the zero value is the same as none. */
function isSet(value: unknown): boolean {
  return value !== undefined && value !== "" && value !== false && value !== 0 && value !== 0n;
}
