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

/** The messages of both versions. They differ in nothing except their package. */
type Request = ServerReflectionRequest | ServerReflectionRequestAlpha;
type Response = Omit<MessageInitShape<typeof ServerReflectionResponseSchema>, "$typeName">;

/** A response with a file and all files that it imports, so that one request is enough. */
type FileResponse = Response["messageResponse"];

/**
 * The reflection data of a set of services, so that grpcurl and similar tools need no .proto files. All of it is made
 * at the start: any client may ask, without a limit, so an answer must cost no more than one look into a map.
 */
interface Reflected {
  readonly services: readonly string[];
  /** By the path of the file, such as `latchkey/v1/key.proto`. */
  readonly byPath: ReadonlyMap<string, FileResponse>;
  /** By the full name of each declaration: service, method, message, field, oneof, enum or enum value. */
  readonly bySymbol: ReadonlyMap<string, FileResponse>;
  /** The files of extensions, by the message that they extend and their number: the annotations of REST. */
  readonly byExtension: ReadonlyMap<string, ReadonlyMap<number, FileResponse>>;
}

/**
 * Reflection (grpc.reflection.v1 and v1alpha) for these services, and for reflection itself.
 *
 * @param bindings the other services of the server
 */
export function reflectionBindings(bindings: readonly Binding[]): Binding[] {
  const services = [...bindings.map(({ service }) => service), ServerReflection, ServerReflectionAlpha];
  const files = new Map<string, DescFile>();
  for (const { file } of services) collectFiles(file, files);
  // No service's file imports the details of errors, but a client that displays an error asks for them.
  collectFiles(file_google_rpc_error_details, files);
  const byPath = new Map([...files].map(([path, file]) => [path, fileResponse(file)]));
  const symbols = [...files].flatMap(([path, file]) => [...symbolsOf(file)].map((symbol) => [symbol, path] as const));
  const reflected: Reflected = {
    services: services.map(({ typeName }) => typeName).sort(),
    byPath,
    bySymbol: new Map(symbols.map(([symbol, path]) => [symbol, byPath.get(path)])),
    byExtension: extensionsOf(files.values(), byPath),
  };
  async function* respondToAll(requests: AsyncIterable<Request>) {
    for await (const request of requests) yield respond(reflected, request);
  }
  return [
    bind(ServerReflection, { serverReflectionInfo: respondToAll }),
    bind(ServerReflectionAlpha, { serverReflectionInfo: respondToAll as never }),
  ];
}

function respond(reflected: Reflected, request: Request): Response {
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
    case "fileContainingExtension": {
      const { containingType, extensionNumber } = messageRequest.value;
      const file = reflected.byExtension.get(containingType)?.get(extensionNumber);
      return { ...head, messageResponse: file ?? NOT_FOUND };
    }
    case "allExtensionNumbersOfType": {
      const baseTypeName = messageRequest.value;
      const extensionNumber = [...(reflected.byExtension.get(baseTypeName)?.keys() ?? [])];
      if (extensionNumber.length === 0) return { ...head, messageResponse: NOT_FOUND };
      const value = { baseTypeName, extensionNumber };
      return { ...head, messageResponse: { case: "allExtensionNumbersResponse", value } };
    }
    default:
      return {
        ...head,
        messageResponse: errorResponse(Code.INVALID_ARGUMENT, "message_request must be set to a known kind of request"),
      };
  }
}

const NOT_FOUND = errorResponse(Code.NOT_FOUND, "no such file or symbol; list_services returns the services");

function fileResponse(file: DescFile): FileResponse {
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

function extensionsOf(
  files: Iterable<DescFile>,
  byPath: ReadonlyMap<string, FileResponse>,
): ReadonlyMap<string, ReadonlyMap<number, FileResponse>> {
  const found = new Map<string, Map<number, FileResponse>>();
  for (const { extensions, proto } of files) {
    for (const { extendee, number } of extensions) {
      const numbers = found.get(extendee.typeName) ?? new Map<number, FileResponse>();
      found.set(extendee.typeName, numbers.set(number, byPath.get(proto.name)));
    }
  }
  return found;
}

/** The full names of a file's declarations. */
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
