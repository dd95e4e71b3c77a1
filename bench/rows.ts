/** The rows of the table: the call of each, its server, and the right answer. */
import { create, type DescMessage, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { CheckRequestSchema, CheckResponseSchema } from "../src/gen/envoy/service/auth/v3/external_auth_pb.ts";
import {
  BatchVerifyKeysRequestSchema,
  type BatchVerifyKeysResponse,
  BatchVerifyKeysResponseSchema,
  CheckRateLimitRequestSchema,
  CheckRateLimitResponseSchema,
  Verdict,
  VerdictSchema,
  VerifyKeyRequestSchema,
  type VerifyKeyResponse,
  VerifyKeyResponseSchema,
} from "../src/gen/latchkey/v1/key_service_pb.ts";
import { connectRpc, grpcRpc, type Rpc } from "./call.ts";
import { Disturbed } from "./disturbed.ts";
import type { Server } from "./server.ts";
import { KEYS_IN_BATCH, NO_RUN_FILLS, type Service } from "./service.ts";
import type { Targets } from "./targets.ts";

export interface Row {
  readonly name: string;
  readonly server: Server;
  /** The one call that is repeated, or all calls if none may be repeated. */
  readonly rpcs: readonly Rpc[];
  /** Number of keys in one call. The figures are for one key. */
  readonly keys: number;
  /** Whether Redis takes part. */
  readonly usesRedis: boolean;
  /** Whether its latency at a fixed rate is measured too. */
  readonly hasLatency: boolean;
}

/** The row that the others are compared with. */
export const FLOOR = "bare node:http2 no-op";

const PATH = "/latchkey.v1.KeyService";

export function rowsOf(targets: Targets): readonly Row[] {
  const { embedded, stored } = targets;
  const noop = verify(grpcRpc, embedded.credential, embedded.openKeys[0]!, 0);
  return [
    row(FLOOR, targets.bare, [noop], { hasLatency: true }),
    row("connect-node no-op", targets.connectNode, [noop], { hasLatency: true }),
    row("grpc-js no-op", targets.grpcJs, [noop], { hasLatency: true }),
    ...serviceRows(embedded, "embedded", "in process", false),
    ...(stored ? storedRows(stored) : []),
  ];
}

function storedRows({ service, hasPostgres, hasRedis }: NonNullable<Targets["stored"]>): readonly Row[] {
  const limits = hasRedis ? "in Redis" : "in process";
  return serviceRows(service, hasPostgres ? "PostgreSQL" : "embedded", limits, hasRedis);
}

/** The rows of one service; `database` and `limits` say where they are. */
function serviceRows(service: Service, database: string, limits: string, usesRedis: boolean): readonly Row[] {
  const { credential, openKeys, limitedKeys, unseenKeys } = service;
  const [open, limited] = [openKeys[0]!, limitedKeys[0]!];
  const cold = unseenKeys.map((key) => verify(grpcRpc, credential, key, 0));
  return [
    row(`VerifyKey, cached, no limits (${database})`, service, [verify(grpcRpc, credential, open, 0)], {
      hasLatency: true,
    }),
    row(`VerifyKey over Connect, cached, no limits (${database})`, service, [verify(connectRpc, credential, open, 0)]),
    row(`VerifyKey, cached, minute + day ${limits}`, service, [verify(grpcRpc, credential, limited, 2)], {
      hasLatency: true,
      usesRedis,
    }),
    row(`Envoy's Check, cached, no limits (${database})`, service, [envoyCheck(credential, open, 0)]),
    row(`Envoy's Check of 30 more headers, cached, no limits (${database})`, service, [
      envoyCheck(credential, open, HEADERS),
    ]),
    row(`BatchVerifyKeys of 50, no limits, per key (${database})`, service, [batch(credential, openKeys)], {
      keys: KEYS_IN_BATCH,
    }),
    row(`BatchVerifyKeys of 50, limits ${limits}, per key`, service, [batch(credential, limitedKeys)], {
      keys: KEYS_IN_BATCH,
      usesRedis,
    }),
    row(`CheckRateLimit ${limits}`, service, [checkRateLimit(credential)], { usesRedis }),
    row(`VerifyKey, cold (${database})`, service, cold),
  ];
}

function row(name: string, server: Server, rpcs: readonly Rpc[], more: Partial<Row> = {}): Row {
  return { name, server, rpcs, keys: 1, usesRedis: false, hasLatency: false, ...more };
}

/** One call of VerifyKey by two services. */
export function callsOfTwo({ credential, otherCredential, openKeys }: Service) {
  const call = (who: string) => verify(grpcRpc, who, openKeys[0]!, 0);
  return { own: call(credential), other: call(otherCredential) };
}

/** @param windows number of windows that must have decided about the verdict */
function verify(make: typeof grpcRpc, credential: string, apiKey: string, windows: number): Rpc {
  const request = bytesOf(VerifyKeyRequestSchema, { apiKey });
  return make(`${PATH}/VerifyKey`, credential, request, (message) =>
    expectValid(fromBinary(VerifyKeyResponseSchema, message), windows),
  );
}

/** Further headers in a check; each has 60 bytes with its name. */
const HEADERS = 30;

/** @param more number of headers besides those of curl and Envoy */
function envoyCheck(credential: string, apiKey: string, more: number): Rpc {
  const filler = Array.from({ length: more }, (_, at) => [`x-header-${at}`.padEnd(20, "n"), "v".repeat(40)]);
  const own = { ":method": "GET", ":path": "/orders/7", ":authority": "shop.example", ":scheme": "http" };
  const others = { "user-agent": "curl/8.14.1", accept: "*/*", "x-request-id": "8ad5a2f3-0000-4000-8000-1234567890ab" };
  const headers = { ...own, ...others, "x-api-key": apiKey, ...Object.fromEntries(filler) };
  const address = { address: { case: "socketAddress" as const, value: { address: "127.0.0.1" } } };
  const http = { id: "7", method: "GET", path: "/orders/7", host: "shop.example", protocol: "HTTP/1.1", headers };
  const attributes = { source: { address }, destination: { address }, request: { http }, metadataContext: {} };
  const request = bytesOf(CheckRequestSchema, { attributes });
  return grpcRpc("/envoy.service.auth.v3.Authorization/Check", credential, request, (message) => {
    const { httpResponse } = fromBinary(CheckResponseSchema, message);
    if (httpResponse.case !== "okResponse") throw new Error(`a good key is refused: ${httpResponse.case}`);
  });
}

function batch(credential: string, keys: readonly string[]): Rpc {
  const request = bytesOf(BatchVerifyKeysRequestSchema, { requests: keys.map((apiKey) => ({ apiKey })) });
  return grpcRpc(`${PATH}/BatchVerifyKeys`, credential, request, (message) => {
    const { results }: BatchVerifyKeysResponse = fromBinary(BatchVerifyKeysResponseSchema, message);
    if (results.length !== keys.length) throw new Error(`${results.length} results for ${keys.length} keys`);
    for (const { outcome } of results) {
      if (outcome.case !== "response") throw new Error(`one of the batch failed: ${outcome.value?.message}`);
      expectValid(outcome.value, outcome.value.rateLimits.length);
    }
  });
}

function checkRateLimit(credential: string): Rpc {
  const limits = [{ name: "bench", perMinute: NO_RUN_FILLS, perDay: NO_RUN_FILLS }];
  const request = bytesOf(CheckRateLimitRequestSchema, { subject: { case: "name", value: "bench" }, limits });
  return grpcRpc(`${PATH}/CheckRateLimit`, credential, request, (message) => {
    const { allowed, rateLimits, degraded } = fromBinary(CheckRateLimitResponseSchema, message);
    if (!allowed || rateLimits.length !== 2) throw new Error(`allowed=${allowed}, ${rateLimits.length} windows`);
    if (degraded) throw new Disturbed("decided without Redis");
  });
}

function expectValid({ valid, verdict, rateLimits, degraded }: VerifyKeyResponse, windows: number): void {
  if (!valid || verdict !== Verdict.VALID)
    throw new Error(`valid=${valid}, verdict ${VerdictSchema.value[verdict]?.localName}`);
  if (rateLimits.length !== windows) throw new Error(`judged by ${rateLimits.length} windows, not ${windows}`);
  if (degraded) throw new Disturbed("judged without Redis");
}

function bytesOf<D extends DescMessage>(schema: D, message: MessageInitShape<D>): Uint8Array {
  return toBinary(schema, create(schema, message));
}
