/** The ways to verify a key from a program in TypeScript: our client, and what users write instead. */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type Client, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { credentials, Client as GrpcClient, Metadata } from "@grpc/grpc-js";
import { LRUCache } from "lru-cache";
import { createLatchkey } from "../../client/src/latchkey.ts";
import {
  KeyService,
  type VerifyKeyRequest,
  VerifyKeyRequestSchema,
  type VerifyKeyResponse,
  VerifyKeyResponseSchema,
} from "../../src/gen/latchkey/v1/key_service_pb.ts";

/** The service that a candidate calls. */
export interface Target {
  readonly baseUrl: string;
  readonly credential: string;
}

/** One way to verify keys. It lives as long as its process. */
export interface Candidate {
  /** Whether the key is good. @throws if there is no verdict */
  verify(apiKey: string): Promise<boolean>;
  /** Calls to the service so far. */
  calls(): number;
}

/** The names of the candidates in the table. */
export const CLIENT = {
  near: "client: ours, near verification",
  groupCommit: "client: ours, group commit",
  single: "client: ours, batch: false",
  connectNode: "client: connect-node",
  grpcJs: "client: grpc-js",
  ttlCache: "client: connect-node behind lru-cache, ttl 5 s",
};

/** Each candidate by its name. */
export const CANDIDATES: Readonly<Record<string, (target: Target) => Promise<Candidate>>> = {
  [CLIENT.near]: near,
  [CLIENT.groupCommit]: (target) => ours({ ...target, batch: true }),
  [CLIENT.single]: (target) => ours({ ...target, batch: false }),
  [CLIENT.connectNode]: plainConnectNode,
  [CLIENT.grpcJs]: grpcJs,
  [CLIENT.ttlCache]: ttlCache,
};

/** Maximum answers in the cache of `ttlCache`, and the time for which it believes each. */
export const TTL_CACHE = { max: 200_000, ttl: 5_000 };

/** As the middleware uses it: by what is kept, or else by a call. */
async function near(target: Target): Promise<Candidate> {
  const latchkey = createLatchkey({ ...target, near: true, accessTokens: false });
  await latchkey.ready();
  return {
    verify: async (apiKey) => (latchkey.verifySync({ apiKey }) ?? (await latchkey.verify({ apiKey }))).valid,
    calls: () => latchkey.stats().calls,
  };
}

async function ours(options: Target & { readonly batch: boolean }): Promise<Candidate> {
  const latchkey = createLatchkey({ ...options, accessTokens: false });
  await latchkey.ready();
  return {
    verify: async (apiKey) => (await latchkey.verify({ apiKey })).valid,
    calls: () => latchkey.stats().calls,
  };
}

async function plainConnectNode(target: Target): Promise<Candidate> {
  const client = connectNode(target);
  let calls = 0;
  return {
    async verify(apiKey) {
      calls++;
      return (await client.verifyKey({ apiKey })).valid;
    },
    calls: () => calls,
  };
}

/** As the service's README shows it. */
function connectNode({ baseUrl, credential }: Target): Client<typeof KeyService> {
  const transport = createGrpcTransport({
    baseUrl,
    interceptors: [
      (next) => (request) => {
        request.header.set("authorization", `Bearer ${credential}`);
        return next(request);
      },
    ],
  });
  return createClient(KeyService, transport);
}

async function grpcJs({ baseUrl, credential }: Target): Promise<Candidate> {
  const client = new GrpcClient(new URL(baseUrl).host, credentials.createInsecure());
  const metadata = new Metadata();
  metadata.set("authorization", `Bearer ${credential}`);
  const { promise: isReady, resolve, reject } = Promise.withResolvers<void>();
  client.waitForReady(Date.now() + 10_000, (error) => (error ? reject(error) : resolve()));
  await isReady;
  let calls = 0;
  return {
    verify: (apiKey) =>
      new Promise((answer, fail) => {
        calls++;
        client.makeUnaryRequest<VerifyKeyRequest, VerifyKeyResponse>(
          "/latchkey.v1.KeyService/VerifyKey",
          (message) => Buffer.from(toBinary(VerifyKeyRequestSchema, message)),
          (bytes) => fromBinary(VerifyKeyResponseSchema, bytes),
          create(VerifyKeyRequestSchema, { apiKey }),
          metadata,
          (error, response) => (error ? fail(error) : answer(response!.valid)),
        );
      }),
    calls: () => calls,
  };
}

/** It accepts a revoked key until its answer is 5 s old, and counts no call that it answers itself. */
async function ttlCache(target: Target): Promise<Candidate> {
  const client = connectNode(target);
  const answers = new LRUCache<string, VerifyKeyResponse>(TTL_CACHE);
  let calls = 0;
  return {
    async verify(apiKey) {
      const known = answers.get(apiKey);
      if (known !== undefined) return known.valid;
      calls++;
      const answer = await client.verifyKey({ apiKey });
      answers.set(apiKey, answer);
      return answer.valid;
    },
    calls: () => calls,
  };
}
