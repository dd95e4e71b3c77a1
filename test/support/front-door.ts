import type { ClientHttp2Stream } from "node:http2";
import type { DescMethodUnary, DescService, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { credentials, Client as GrpcClient, Metadata, type ServiceError } from "@grpc/grpc-js";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { systemClock } from "../../src/lib/clock.ts";
import { DomainError } from "../../src/lib/errors.ts";
import { accessRule, checkAccess } from "../../src/rpc/access.ts";
import type { Caller, UnaryHandlers } from "../../src/rpc/call.ts";
import { isChange } from "../../src/rpc/effects.ts";
import { bind, type ServiceHandlers } from "../../src/rpc/routes.ts";
import { RpcServer, type RpcServerDeps, type RpcServerOptions } from "../../src/rpc/server.ts";
import { HealthRegistry } from "../../src/rpc/standard/health.ts";
import { LANE } from "./lane.ts";
import { type LogLine, recordingLog } from "./recording-log.ts";

/** The server of src/rpc in this process, with handlers of the test instead of the business rooms. */
export interface FrontDoor {
  readonly server: RpcServer;
  readonly health: HealthRegistry;
  /** `127.0.0.1:12345` */
  readonly address: string;
  readonly port: number;
  readonly log: readonly LogLine[];
  /** `[method, code]` of each call that ended. */
  readonly finished: (readonly [string, string])[];
}

export interface FrontDoorSetup {
  readonly auth?: UnaryHandlers<typeof AuthService>;
  readonly keys?: ServiceHandlers<typeof KeyService>;
  readonly deps?: Partial<RpcServerDeps>;
  readonly options?: Partial<RpcServerOptions>;
}

export async function startFrontDoor(setup: FrontDoorSetup = {}): Promise<FrontDoor> {
  const log = recordingLog();
  const finished: (readonly [string, string])[] = [];
  const health = new HealthRegistry();
  const deps: RpcServerDeps = {
    clock: systemClock,
    log,
    clientIp: (head) => head.peerAddress,
    resolveCaller: async (head) => callerOf(head.header("authorization")),
    checkAccess,
    accessRule,
    isChange,
    jwks: async () => ({ keys: [{ kty: "OKP", kid: "k1" }] }),
    health,
    ...setup.deps,
  };
  const bindings = [bind(AuthService, setup.auth ?? {}), bind(KeyService, setup.keys ?? {}), bind(AdminService, {})];
  const options = {
    host: "127.0.0.1",
    port: 0,
    reflection: true,
    corsOrigins: [],
    drainMs: 5000,
    ...LANE,
    ...setup.options,
  };
  const server = new RpcServer(deps, bindings, options);
  server.observe({ finished: (method, code) => finished.push([`${method.parent.name}.${method.name}`, code]) });
  const address = await server.start();
  health.setAll("SERVING");
  return { server, health, address, port: Number(address.split(":").at(-1)), log: log.lines, finished };
}

/** Resolves the caller: `Bearer user` and `Bearer service` are valid. */
function callerOf(values: readonly string[]): Caller {
  if (values.length === 0) return { kind: "anonymous" };
  if (values.length > 1) throw new DomainError("CREDENTIAL_INVALID", "more than one authorization header");
  if (values[0] === "Bearer user") return { kind: "user", userId: "usr_1", sessionId: "ses_1" };
  if (values[0] === "Bearer service") return { kind: "service", credentialId: "svc_1", scopes: ["verify"] };
  throw new DomainError("CREDENTIAL_INVALID", "not a credential");
}

export type MethodOf<S extends DescService, K extends keyof S["method"]> = S["method"][K];

/** Makes one unary call with grpc-js. Rejects with its ServiceError. */
export function callGrpc<M extends DescMethodUnary>(
  client: GrpcClient,
  method: M,
  request: MessageInitShape<M["input"]>,
  options: { deadline?: number; credential?: string } = {},
): Promise<MessageShape<M["output"]>> {
  const metadata = new Metadata();
  if (options.credential !== undefined) metadata.set("authorization", `Bearer ${options.credential}`);
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      `/${method.parent.typeName}/${method.name}`,
      (value: Uint8Array) => Buffer.from(value),
      (bytes) => fromBinary(method.output, bytes),
      toBinary(method.input, create(method.input, request)),
      metadata,
      options.deadline === undefined ? {} : { deadline: options.deadline },
      (error: ServiceError | null, value) => (error === null ? resolve(value as never) : reject(error)),
    );
  });
}

/** The headers that have a stream's grpc-status: its trailers, or its headers if it has no others. */
export function grpcTrailers(stream: ClientHttp2Stream): Promise<Record<string, unknown>> {
  return new Promise((resolve) => {
    stream.on("response", (headers) => {
      if (headers["grpc-status"] !== undefined) resolve(headers);
    });
    stream.on("trailers", resolve);
  });
}

export function grpcClient(address: string): GrpcClient {
  return new GrpcClient(address, credentials.createInsecure());
}
