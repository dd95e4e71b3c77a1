/**
 * The size of errors on the wire. grpc-java refuses a call with more than 8 KiB of metadata, and gRPC's C core
 * begins to refuse calls at that size. Their client would see a fault of the connection instead of the request's fault.
 */
import { once } from "node:events";
import { type ClientHttp2Session, connect } from "node:http2";
import {
  create,
  type DescField,
  type DescMessage,
  type DescMethod,
  type DescService,
  fromBinary,
  fromJson,
  type JsonObject,
  type JsonValue,
  ScalarType,
  toBinary,
} from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Code } from "../../src/gen/google/rpc/code_pb.ts";
import { BadRequestSchema } from "../../src/gen/google/rpc/error_details_pb.ts";
import { StatusSchema } from "../../src/gen/google/rpc/status_pb.ts";
import { Health } from "../../src/gen/grpc/health/v1/health_pb.ts";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { KeySchema } from "../../src/gen/latchkey/v1/key_pb.ts";
import { IssueKeyRequestSchema, KeyService, VerifyKeyRequestSchema } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { grpcTrailers } from "../support/front-door.ts";
import { type Person, startTestService, type TestService } from "../support/in-process-service.ts";
import { grpcMessage } from "../support/raw-http2.ts";

/** The promised maximum: 6 KiB, which leaves room below the 8 KiB that clients refuse. */
const MOST_BYTES = 6 * 1024;
/** Unary gRPC takes the unary lane, except for a client that may compress: that takes the Connect lane. */
const LANES = { unary: {}, connect: { "grpc-encoding": "gzip" } } as const;
type Lane = keyof typeof LANES;

interface Failure {
  readonly code: number;
  /** The size of all headers and trailers. HTTP/2 counts 32 bytes more for each (RFC 9113, 6.5.2). */
  readonly bytes: number;
  readonly message: string;
  readonly fields: readonly string[];
}

let service: TestService;
let session: ClientHttp2Session;
let person: Person;
let keyId: string;
beforeAll(async () => {
  service = await startTestService();
  session = connect(`http://${service.address}`);
  const issued = await service.newKey();
  person = issued.person;
  keyId = issued.key!.id;
});
afterAll(async () => {
  session?.destroy();
  await service?.[Symbol.asyncDispose]();
});

/** Makes a call and returns its failure, or undefined if it succeeds. */
async function failureOf(
  method: DescMethod,
  message: Uint8Array,
  lane: Lane,
  credential: string,
): Promise<Failure | undefined> {
  const stream = session.request({
    ":method": "POST",
    ":path": `/${method.parent.typeName}/${method.name}`,
    "content-type": "application/grpc",
    authorization: `Bearer ${credential}`,
    ...LANES[lane],
  });
  let headBytes = 0;
  stream.on("response", (headers) => {
    if (headers["grpc-status"] === undefined) headBytes = sizeOf(headers);
  });
  stream.end(grpcMessage(message));
  // A stream that sends one message has not failed.
  const begun = method.methodKind === "unary" ? stream.resume() && [] : [once(stream, "data").then(() => undefined)];
  const trailers = await Promise.race([grpcTrailers(stream), ...begun]);
  stream.close();
  if (trailers === undefined || trailers["grpc-status"] === "0") return undefined;
  const bytes = Buffer.from(String(trailers["grpc-status-details-bin"]), "base64");
  const status = fromBinary(StatusSchema, bytes);
  const violations = status.details.flatMap((any) => anyUnpack(any, BadRequestSchema)?.fieldViolations ?? []);
  expect(decodeURIComponent(String(trailers["grpc-message"]))).toBe(status.message);
  return {
    code: status.code,
    bytes: headBytes + sizeOf(trailers),
    message: status.message,
    fields: violations.map(({ field }) => field),
  };
}

function sizeOf(fields: Readonly<Record<string, unknown>>): number {
  return Object.entries(fields).reduce((sum, [name, value]) => sum + name.length + String(value).length + 32, 0);
}

/** `n` different texts that no field allows. Their characters take the most bytes when they are escaped. */
function badTexts(n: number): string[] {
  return Array.from({ length: n }, (_, index) => `\u0001漢字 ${index}`);
}

/** Metadata with allowed names of the maximum length, and values that are not allowed. */
const BAD_METADATA = Object.fromEntries(
  Array.from({ length: 32 }, (_, index) => [`${"🗝".repeat(62)}${String(index).padStart(2, "0")}`, "\u0001"]),
);

/** A message whose every field is filled with a bad value, except the fields of `given`. */
function worst(desc: DescMessage, given: JsonObject = {}): JsonObject {
  const bad = desc.fields
    // A oneof may have one field only.
    .filter((field) => field.oneof === undefined || field.oneof.fields[0] === field)
    .map((field): [string, JsonValue] => [field.jsonName, worstValue(field)]);
  return { ...Object.fromEntries(bad), ...given };
}

function worstValue(field: DescField): JsonValue {
  switch (field.fieldKind) {
    case "list":
      return field.listKind === "message" ? Array(8).fill(worstMessage(field.message)) : badTexts(64);
    case "map":
      return BAD_METADATA;
    case "message":
      return worstMessage(field.message);
    case "enum":
      return 99;
    case "scalar":
      return worstScalar(field.scalar);
  }
}

function worstScalar(type: ScalarType): JsonValue {
  switch (type) {
    case ScalarType.STRING:
      return `\u0001${"漢".repeat(300)}`;
    case ScalarType.BOOL:
      return true;
    default:
      return -1;
  }
}

function worstMessage(desc: DescMessage): JsonValue {
  switch (desc.typeName) {
    case "google.protobuf.Timestamp":
      return "0001-01-01T00:00:00Z";
    case "google.protobuf.Duration":
      return "-1s";
    case "google.protobuf.FieldMask":
      return "x".repeat(4000);
    default:
      return worst(desc);
  }
}

/**
 * Bad requests of a method: all fields bad, all fields bad and all lists too long, and each field bad alone. Alone,
 * because the service reports some faults before it looks for others.
 */
function badRequests({ input }: DescMethod, given: JsonObject): Uint8Array[] {
  const all = worst(input, given);
  const lists = input.fields.filter((field) => field.fieldKind === "list" && field.listKind === "scalar");
  const tooMany = Object.fromEntries(lists.map(({ jsonName }) => [jsonName, badTexts(300)]));
  const alone = Object.entries(all).map(([name, value]) => ({ ...given, [name]: value }));
  return [all, { ...all, ...tooMany }, ...alone].map((json) => toBinary(input, fromJson(input, json)));
}

/** The fields that a request needs, so that the service checks those with many faults. */
function given(method: DescMethod): JsonObject {
  switch (method.name) {
    case "CreateUser":
    case "Register":
      return { email: "someone@example.com" };
    case "UpdateKey": {
      const updateMask = "name,description,scopes,metadata,allowedIps,allowedMethods,expireTime,tier,limits";
      return { key: worst(KeySchema, { id: keyId }), updateMask };
    }
    case "UpdateUser":
      return { updateMask: "tier,scopes,displayName" };
    default:
      return {};
  }
}

const METHODS = [AuthService, KeyService, AdminService, Health].flatMap(({ methods }: DescService) =>
  // Health.Watch of an unknown service goes on, and Logout succeeds with any token: neither fails on a bad request.
  methods.filter(({ parent, name }) => (parent !== Health || name === "Check") && name !== "Logout"),
);

describe.each(Object.keys(LANES) as Lane[])("over the %s lane", (lane) => {
  it.each(METHODS.map((method): [string, DescMethod] => [method.name, method]))(
    "no error of %s has more than 6 KiB of headers and trailers, whatever the request",
    async (_name, method) => {
      const credentials = [service.admin, person.tokens.accessToken];
      const calls = badRequests(method, given(method)).flatMap((request) =>
        credentials.map((credential) => failureOf(method, request, lane, credential)),
      );
      const failures = (await Promise.all(calls)).filter((failure) => failure !== undefined);
      expect(failures.length).toBeGreaterThan(0);
      expect(failures.map(({ code }) => code)).not.toContain(Code.RESOURCE_EXHAUSTED);
      expect(Math.max(...failures.map(({ bytes }) => bytes))).toBeLessThan(MOST_BYTES);
    },
  );

  it("an error with many faults lists the first 16, and its text has the first and the number of the others", async () => {
    const requiredScopes = Array.from({ length: 64 }, (_, index) => `a b${index}`);
    const request = toBinary(VerifyKeyRequestSchema, create(VerifyKeyRequestSchema, { requiredScopes }));
    expect(await failureOf(KeyService.method.verifyKey, request, lane, service.admin)).toMatchObject({
      code: Code.INVALID_ARGUMENT,
      message: "required_scopes[0]: must be 1 to 128 visible ASCII characters without spaces; and 63 more",
      fields: Array.from({ length: 16 }, (_, index) => `required_scopes[${index}]`),
    });
  });

  it("an error with very long names lists the faults that fit, and always the first one", async () => {
    const json = { name: "a key", metadata: BAD_METADATA };
    const request = toBinary(IssueKeyRequestSchema, fromJson(IssueKeyRequestSchema, json));
    const failure = await failureOf(KeyService.method.issueKey, request, lane, person.tokens.accessToken);
    expect(failure?.message).toMatch(/^metadata\["🗝+00"\]: must not contain control characters; and 31 more$/u);
    expect(failure?.fields.length).toBeGreaterThan(4);
  });
});

it("an error does not repeat the client's content type, however long it is", async () => {
  const contentType = `application/grpc+${"x".repeat(7000)}`;
  const stream = session.request({ ":method": "POST", ":path": "/no/Method", "content-type": contentType });
  stream.end();
  stream.resume();
  const trailers = await grpcTrailers(stream);
  expect(trailers["grpc-status"]).toBe(String(Code.UNIMPLEMENTED));
  expect(sizeOf(trailers)).toBeLessThan(MOST_BYTES);
});
