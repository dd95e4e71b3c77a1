import { createRegistry, type DescFile, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code } from "../gen/google/rpc/code_pb.ts";
import { file_google_rpc_error_details } from "../gen/google/rpc/error_details_pb.ts";
import {
  ServerReflection,
  type ServerReflectionRequest,
  type ServerReflectionResponseSchema,
} from "../gen/grpc/reflection/v1/reflection_pb.ts";
import {
  ServerReflection as ServerReflectionAlpha,
  type ServerReflectionRequest as ServerReflectionRequestAlpha,
} from "../gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { type Binding, bind } from "./routes.ts";

/** The versions differ in nothing but their package. */
type Request = ServerReflectionRequest | ServerReflectionRequestAlpha;
type Response = Omit<MessageInitShape<typeof ServerReflectionResponseSchema>, "$typeName">;

/** What reflection says of a set of services, so that grpcurl and its like need no .proto files. */
interface Reflected {
  readonly services: readonly string[];
  /** By path, `latchkey/v1/key.proto`. */
  readonly files: ReadonlyMap<string, DescFile>;
  /** The file that declares a full name: service, method, message, field, oneof, enum or enum value. */
  fileOf(symbol: string): DescFile | undefined;
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
  const reflected: Reflected = {
    services: services.map(({ typeName }) => typeName).sort(),
    files,
    fileOf: createSymbolIndex([...files.values()]),
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
      return { ...head, messageResponse: fileResponse(reflected.files.get(messageRequest.value)) };
    case "fileContainingSymbol":
      return { ...head, messageResponse: fileResponse(reflected.fileOf(messageRequest.value)) };
    case "fileContainingExtension":
    case "allExtensionNumbersOfType":
      return { ...head, messageResponse: errorResponse(Code.NOT_FOUND, "there are no extensions") };
    default:
      return { ...head, messageResponse: errorResponse(Code.INVALID_ARGUMENT, "unknown kind of request") };
  }
}

/** The file and all that it imports, so that one question is enough. */
function fileResponse(file: DescFile | undefined): Response["messageResponse"] {
  if (file === undefined) return errorResponse(Code.NOT_FOUND, "not found");
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

function createSymbolIndex(files: readonly DescFile[]): Reflected["fileOf"] {
  const registry = createRegistry(...files);
  return (symbol) => {
    const type = registry.get(symbol);
    if (type !== undefined) return type.file;
    // A member: `Service.Method`, `Message.field`, `Message.oneof`. Values of enums are siblings of their enum.
    const dot = symbol.lastIndexOf(".");
    const scope = symbol.slice(0, Math.max(dot, 0));
    const name = symbol.slice(dot + 1);
    const service = registry.getService(scope);
    if (service?.methods.some((method) => method.name === name)) return service.file;
    const message = registry.getMessage(scope);
    if (message?.fields.some((field) => field.name === name)) return message.file;
    if (message?.oneofs.some((oneof) => oneof.name === name)) return message.file;
    return enumValueFile(files, scope, name);
  };
}

function enumValueFile(files: readonly DescFile[], scope: string, name: string): DescFile | undefined {
  for (const type of createRegistry(...files)) {
    if (type.kind !== "enum") continue;
    const typeScope = type.typeName.slice(0, Math.max(type.typeName.lastIndexOf("."), 0));
    if (typeScope === scope && type.values.some((value) => value.name === name)) return type.file;
  }
  return undefined;
}
