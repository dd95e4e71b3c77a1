import { execFile, execFileSync } from "node:child_process";
import { promisify } from "node:util";
import { fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ServerReflection } from "../../src/gen/grpc/reflection/v1/reflection_pb.ts";
import { ServerReflection as ServerReflectionAlpha } from "../../src/gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { type FrontDoor, startFrontDoor } from "../support/front-door.ts";

const SERVICES = [
  "grpc.health.v1.Health",
  "grpc.reflection.v1.ServerReflection",
  "grpc.reflection.v1alpha.ServerReflection",
  "latchkey.v1.AdminService",
  "latchkey.v1.AuthService",
  "latchkey.v1.KeyService",
];

/** The number of `google.api.http`. */
const HTTP_RULE = 72_295_728;

let wire: FrontDoor;
beforeAll(async () => {
  wire = await startFrontDoor({ auth: { login: async ({ email }) => ({ user: { email } }) } });
});
afterAll(() => wire.server.stop());

describe.each([
  ["v1", ServerReflection],
  ["v1alpha", ServerReflectionAlpha as unknown as typeof ServerReflection],
])("reflection %s", (_version, service) => {
  type Question = { case: "fileContainingSymbol" | "fileByFilename" | "listServices"; value: string };
  const ask = async (...questions: Question[]) => {
    const client = createClient(service, createGrpcTransport({ baseUrl: `http://${wire.address}` }));
    async function* requests() {
      for (const messageRequest of questions) yield { messageRequest };
    }
    const answers = [];
    for await (const { messageResponse } of client.serverReflectionInfo(requests())) answers.push(messageResponse);
    return answers;
  };
  const filesFor = async (question: Question): Promise<string[]> => {
    const [answer] = await ask(question);
    if (answer?.case !== "fileDescriptorResponse") return [];
    return answer.value.fileDescriptorProto.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes).name);
  };

  it("lists every service", async () => {
    const [answer] = await ask({ case: "listServices", value: "" });
    expect(answer?.case === "listServicesResponse" && answer.value.service.map(({ name }) => name)).toEqual(SERVICES);
  });

  it.each([
    ["a service", "latchkey.v1.KeyService", "latchkey/v1/key_service.proto"],
    ["a method", "latchkey.v1.KeyService.VerifyKey", "latchkey/v1/key_service.proto"],
    ["a message", "latchkey.v1.Key", "latchkey/v1/key.proto"],
    ["a field", "latchkey.v1.Key.etag", "latchkey/v1/key.proto"],
    ["a oneof", "latchkey.v1.CheckRateLimitRequest.subject", "latchkey/v1/key_service.proto"],
    ["an enum", "latchkey.v1.Verdict", "latchkey/v1/key_service.proto"],
    ["an enum's value", "latchkey.v1.VERDICT_VALID", "latchkey/v1/key_service.proto"],
    ["a nested enum", "latchkey.v1.Key.State", "latchkey/v1/key.proto"],
    ["a nested enum's value", "latchkey.v1.Key.STATE_ACTIVE", "latchkey/v1/key.proto"],
    ["a well-known type", "google.protobuf.Timestamp", "google/protobuf/timestamp.proto"],
  ])("finds the file of %s", async (_kind, symbol, file) => {
    expect((await filesFor({ case: "fileContainingSymbol", value: symbol }))[0]).toBe(file);
  });

  it("returns every file that a file imports, each once", async () => {
    const files = await filesFor({ case: "fileByFilename", value: "latchkey/v1/key_service.proto" });
    expect(new Set(files).size).toBe(files.length);
    expect(files).toEqual(
      expect.arrayContaining(["google/protobuf/timestamp.proto", "google/protobuf/any.proto", "latchkey/v1/key.proto"]),
    );
  });

  it.each(["no.such.Thing", "latchkey.v1.Key.no_such_field", "Key", "", "."])(
    "answers NOT_FOUND for %j",
    async (symbol) => {
      const [answer] = await ask({ case: "fileContainingSymbol", value: symbol });
      expect(answer).toMatchObject({ case: "errorResponse", value: { errorCode: Code.NotFound } });
    },
  );

  it("answers several questions on one stream in order", async () => {
    const answers = await ask(
      { case: "fileByFilename", value: "nothing.proto" },
      { case: "listServices", value: "" },
      { case: "fileContainingSymbol", value: "latchkey.v1.Key" },
    );
    expect(answers.map(({ case: kind }) => kind)).toEqual([
      "errorResponse",
      "listServicesResponse",
      "fileDescriptorResponse",
    ]);
  });
});

it("the annotation with the REST path of a method is found by the message that it extends, and by its number", async () => {
  const client = createClient(ServerReflection, createGrpcTransport({ baseUrl: `http://${wire.address}` }));
  const containingType = "google.protobuf.MethodOptions";
  async function* requests() {
    yield { messageRequest: { case: "allExtensionNumbersOfType", value: containingType } as const };
    for (const extensionNumber of [HTTP_RULE, 1]) {
      const value = { containingType, extensionNumber };
      yield { messageRequest: { case: "fileContainingExtension", value } as const };
    }
  }
  const answers = [];
  for await (const { messageResponse } of client.serverReflectionInfo(requests())) answers.push(messageResponse);
  expect(answers).toMatchObject([
    { case: "allExtensionNumbersResponse", value: { baseTypeName: containingType, extensionNumber: [HTTP_RULE] } },
    { case: "fileDescriptorResponse" },
    { case: "errorResponse", value: { errorCode: Code.NotFound } },
  ]);
});

it("a question for other extensions is answered with NOT_FOUND, an empty one with INVALID_ARGUMENT", async () => {
  const client = createClient(ServerReflection, createGrpcTransport({ baseUrl: `http://${wire.address}` }));
  async function* requests() {
    yield { messageRequest: { case: "allExtensionNumbersOfType", value: "latchkey.v1.Key" } as const };
    yield {};
  }
  const codes = [];
  for await (const { messageResponse } of client.serverReflectionInfo(requests())) {
    codes.push(messageResponse.case === "errorResponse" && messageResponse.value.errorCode);
  }
  expect(codes).toEqual([Code.NotFound, Code.InvalidArgument]);
});

it("reflection answers UNIMPLEMENTED when it is switched off", async () => {
  const closed = await startFrontDoor({ options: { reflection: false } });
  const client = createClient(ServerReflection, createGrpcTransport({ baseUrl: `http://${closed.address}` }));
  async function* requests() {
    yield { messageRequest: { case: "listServices", value: "" } as const };
  }
  const answers = client.serverReflectionInfo(requests())[Symbol.asyncIterator]();
  expect(await answers.next().catch(ConnectError.from)).toMatchObject({ code: Code.Unimplemented });
  await closed.server.stop();
});

function hasGrpcurl(): boolean {
  try {
    execFileSync("grpcurl", ["-version"], { stdio: "pipe" });
    return true;
  } catch {
    // A machine that runs the checks must have grpcurl: a skipped test there would look like a passed one.
    if (process.env.CI !== undefined) throw new Error("grpcurl is missing");
    process.stderr.write("SKIPPED: grpcurl is not installed, so reflection was not tried with it\n");
    return false;
  }
}

describe.runIf(hasGrpcurl())("grpcurl, without .proto files,", () => {
  const grpcurl = async (...args: string[]) => {
    const { stdout } = await promisify(execFile)("grpcurl", ["-plaintext", ...args]);
    return stdout;
  };

  it("lists services and methods", async () => {
    expect((await grpcurl(wire.address, "list")).trim().split("\n")).toEqual(SERVICES);
    expect(await grpcurl(wire.address, "list", "latchkey.v1.KeyService")).toContain("latchkey.v1.KeyService.VerifyKey");
  });

  it("describes services, methods and messages", async () => {
    expect(await grpcurl(wire.address, "describe", "latchkey.v1.KeyService.VerifyKey")).toContain(
      "rpc VerifyKey ( .latchkey.v1.VerifyKeyRequest ) returns ( .latchkey.v1.VerifyKeyResponse )",
    );
    expect(await grpcurl(wire.address, "describe", "latchkey.v1.VerifyKeyRequest")).toContain("string api_key = 1");
    for (const service of SERVICES) expect(await grpcurl(wire.address, "describe", service)).toContain("is a service");
  });

  it("calls a method", async () => {
    const answer = await grpcurl("-d", '{"email":"ann"}', wire.address, "latchkey.v1.AuthService/Login");
    expect(JSON.parse(answer)).toEqual({ user: { email: "ann" } });
  });
});
