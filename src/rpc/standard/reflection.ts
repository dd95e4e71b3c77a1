import { createRegistry, type DescFile, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code } from "../../gen/google/rpc/code_pb.ts";
import { file_google_rpc_error_details } from "../../gen/google/rpc/error_details_pb.ts";
import {
  ServerReflection,
  type ServerReflectionRequest,
  type ServerReflectionResponseSchema,
} from "../../gen/grpc/reflection/v1/reflection_pb.ts";
import {
  ServerReflection as ServerReflectionAlpha,
  type ServerReflectionRequest as ServerReflectionRequestAlpha,
} from "../../gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { type Binding, bind } from "../routes.ts";

/** The versions differ in nothing but their package. */
type Request = ServerReflectionRequest | ServerReflectionRequestAlpha;
type Response = Omit<MessageInitShape<typeof ServerReflectionResponseSchema>, "$typeName">;

/** An answer that is a file and all that it imports, so that one question is enough. */
type FileAnswer = Response["messageResponse"];

/**
 * What reflection says of a set of services, so that grpcurl and its like need no .proto files. All of it is made at the
 * start: anyone may ask, as often as they like, so that an answer must cost no more than a look into a map.
 */
interface Reflected {
  readonly services: readonly string[];
  /** By path, `latchkey/v1/key.proto`. */
  readonly byPath: ReadonlyMap<string, FileAnswer>;
  /** By the full name of what the file declares: service, method, message, field, oneof, enum or enum value. */
  readonly bySymbol: ReadonlyMap<string, FileAnswer>;
}

/**
 * grpc.reflection.v1 and v1alpha for these services, and for reflection itself.
 *
 * @param bindings what else the server offers
 */
export function reflectionBindings(bindings: readonly Binding[]): Binding[] {
  const services = [...bindings.map(({ service }) => service), ServerReflection, ServerReflectionAlpha];
  const files = new Map<string, DescFile>();
  for (const { file } of services) collectFiles(file, files);
  // No service's file names the details of errors, yet a client that shows an error asks for them.
  collectFiles(file_google_rpc_error_details, files);
  const byPath = new Map([...files].map(([path, file]) => [path, fileAnswer(file)]));
  const symbols = [...files].flatMap(([path, file]) => [...symbolsOf(file)].map((symbol) => [symbol, path] as const));
  const reflected: Reflected = {
    services: services.map(({ typeName }) => typeName).sort(),
    byPath,
    bySymbol: new Map(symbols.map(([symbol, path]) => [symbol, byPath.get(path)])),
  };
  async function* answerAll(requests: AsyncIterable<Request>) {
    for await (const request of requests) yield answer(reflected, request);
  }
  return [
    bind(ServerReflection, { serverReflectionInfo: answerAll }),
    bind(ServerReflectionAlpha, { serverReflectionInfo: answerAll as never }),
  ];
}

function answer(reflected: Reflected, request: Request): Response {
  const { host, messageRequest } = request;
  const head = { validHost: host, originalRequest: request as ServerReflectionRequest };
  switch (messageRequest.case) {
    case "listServices": {
      const service = reflected.services.map((name) => ({ name }));
      return { ...head, messageResponse: { case: "listServicesResponse", value: { service } } };
    }
    case "fileByFilename":
      return { ...head, messageResponse: reflected.byPath.get(messageRequest.value) ?? NOT_FOUND };
    case "fileContainingSymbol":
      return { ...head, messageResponse: reflected.bySymbol.get(messageRequest.value) ?? NOT_FOUND };
    case "fileContainingExtension":
    case "allExtensionNumbersOfType":
      return { ...head, messageResponse: errorResponse(Code.NOT_FOUND, "there are no extensions") };
    default:
      return { ...head, messageResponse: errorResponse(Code.INVALID_ARGUMENT, "unknown kind of request") };
  }
}

const NOT_FOUND = errorResponse(Code.NOT_FOUND, "not found");

function fileAnswer(file: DescFile): FileAnswer {
  const files = [...collectFiles(file, new Map()).values()];
  const fileDescriptorProto = files.map(({ proto }) => toBinary(FileDescriptorProtoSchema, proto));
  return { case: "fileDescriptorResponse", value: { fileDescriptorProto } };
}

function errorResponse(errorCode: number, errorMessage: string): Response["messageResponse"] {
  return { case: "errorResponse", value: { errorCode, errorMessage } };
}

function collectFiles(file: DescFile, files: Map<string, DescFile>): Map<string, DescFile> {
  if (files.has(file.proto.name)) return files;
  files.set(file.proto.name, file);
  for (const dependency of file.dependencies) collectFiles(dependency, files);
  return files;
}

/** The full names that a file declares. */
function* symbolsOf(file: DescFile): Generator<string> {
  for (const type of createRegistry(file)) {
    if (type.file !== file) continue;
    yield type.typeName;
    if (type.kind === "enum") {
      // Values of an enum are siblings of the enum (C++ scoping rules of protobuf).
      const scope = type.typeName.slice(0, type.typeName.lastIndexOf(".") + 1);
      for (const { name } of type.values) yield `${scope}${name}`;
    } else if (type.kind === "message") {
      for (const { name } of [...type.fields, ...type.oneofs]) yield `${type.typeName}.${name}`;
    } else if (type.kind === "service") {
      for (const { name } of type.methods) yield `${type.typeName}.${name}`;
    }
  }
}
