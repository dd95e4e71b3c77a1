/** The frameworks that have streams, each with the client's middleware in front of Health.Watch, behind one interface. */
import { once } from "node:events";
import { createServer as createHttp2Server } from "node:http2";
import type { AddressInfo } from "node:net";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { ConnectError, createClient } from "@connectrpc/connect";
import { connectNodeAdapter, createGrpcTransport } from "@connectrpc/connect-node";
import { Server as GrpcServer, ServerCredentials } from "@grpc/grpc-js";
import * as connectDoor from "../../client/src/connect.ts";
import * as grpcDoor from "../../client/src/grpc.ts";
import type { Latchkey } from "../../client/src/latchkey.ts";
import { ErrorInfoSchema } from "../../src/gen/google/rpc/error_details_pb.ts";
import { Health, HealthCheckRequestSchema, HealthCheckResponseSchema } from "../../src/gen/grpc/health/v1/health_pb.ts";

/** The credential that a stream needs. */
export type Guarding = "requireApiKey" | "requireUser";

/** A stream, as the caller sees it, and what its handler knows. */
export interface OpenStream {
  /** The next message, which the handler sends once it is asked to. @throws ConnectError at the end of the stream */
  next(): Promise<void>;
  /** Resolves with the error that ends the stream, while the handler sends nothing. */
  end(): Promise<ConnectError>;
  /** Ends the stream from the caller's side. */
  cancel(): void;
}

export interface RunningStreams extends AsyncDisposable {
  /** Resolves once the handler has sent its first message. @throws ConnectError if the stream is refused */
  open(credential: string): Promise<OpenStream>;
  /** Handlers that have not been told of the end of their stream. */
  readonly handlers: number;
}

export interface StreamDoor {
  readonly name: string;
  start(latchkey: Latchkey, guarding: Guarding): Promise<RunningStreams>;
}

const connectGuards = { requireApiKey: connectDoor.requireApiKey, requireUser: connectDoor.requireUser };
const grpcGuards = { requireApiKey: grpcDoor.requireApiKey, requireUser: grpcDoor.requireUser };

/** The handlers of one server: each sends a message at its start, and whenever the caller asks for one. */
class Handlers {
  readonly #sends = new Set<() => void>();

  get size(): number {
    return this.#sends.size;
  }

  add(send: () => void): () => void {
    this.#sends.add(send);
    send();
    return () => this.#sends.delete(send);
  }

  sendAll(): void {
    for (const send of this.#sends) send();
  }
}

const connectStreams: StreamDoor = {
  name: "Connect",
  async start(latchkey, guarding) {
    const handlers = new Handlers();
    async function* watch(_request: unknown, { signal }: { readonly signal: AbortSignal }) {
      let unsent = 0;
      let wake = () => {};
      const send = () => {
        unsent++;
        wake();
      };
      signal.addEventListener("abort", () => wake());
      const remove = handlers.add(send);
      try {
        while (!signal.aborted) {
          for (; unsent > 0; unsent--) yield {};
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      } finally {
        remove();
      }
    }
    const server = createHttp2Server(
      connectNodeAdapter({
        interceptors: [connectGuards[guarding](latchkey)],
        contextValues: connectDoor.latchkeyContext,
        routes: ({ service }) => service(Health, { watch }),
      }),
    );
    const sessions = new Set<{ destroy(): void }>();
    server.on("session", (session) => sessions.add(session));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return running((server.address() as AddressInfo).port, handlers, async () => {
      for (const session of sessions) session.destroy();
      await new Promise((resolve) => server.close(resolve));
    });
  },
};

/** The part of a call of grpc-js that the handler uses. */
interface WritableCall {
  write(message: object): void;
  once(event: "cancelled", listener: () => void): void;
}

const grpcStreams: StreamDoor = {
  name: "grpc-js",
  async start(latchkey, guarding) {
    const handlers = new Handlers();
    const server = new GrpcServer({ interceptors: [grpcGuards[guarding](latchkey)] });
    const watch = {
      path: "/grpc.health.v1.Health/Watch",
      requestStream: false,
      responseStream: true,
      requestSerialize: () => Buffer.alloc(0),
      requestDeserialize: (bytes: Buffer) => fromBinary(HealthCheckRequestSchema, bytes),
      responseSerialize: () => Buffer.from(toBinary(HealthCheckResponseSchema, create(HealthCheckResponseSchema))),
      responseDeserialize: () => ({}),
    };
    const handle = (call: WritableCall) => {
      const remove = handlers.add(() => call.write({}));
      call.once("cancelled", remove);
    };
    server.addService({ watch } as never, { watch: handle } as never);
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      );
    });
    return running(port, handlers, async () => server.forceShutdown());
  },
};

export const STREAM_DOORS: readonly StreamDoor[] = [connectStreams, grpcStreams];

function running(port: number, handlers: Handlers, close: () => Promise<void>): RunningStreams {
  const client = createClient(Health, createGrpcTransport({ baseUrl: `http://127.0.0.1:${port}` }));
  return {
    get handlers() {
      return handlers.size;
    },
    async open(credential) {
      const caller = new AbortController();
      const headers = { authorization: `Bearer ${credential}` };
      const messages = client.watch({}, { headers, signal: caller.signal })[Symbol.asyncIterator]();
      const read = async () => {
        const { done } = await messages.next();
        if (done === true) throw new Error("the stream ended without an error");
      };
      await read();
      return {
        next: () => {
          handlers.sendAll();
          return read();
        },
        end: () =>
          read().then(
            () => Promise.reject(new Error("there was a message")),
            (error: unknown) => ConnectError.from(error),
          ),
        cancel: () => caller.abort(),
      };
    },
    async [Symbol.asyncDispose]() {
      await close();
    },
  };
}

/** The reason of a refusal. */
export function refusalOf(error: unknown): string | undefined {
  return ConnectError.from(error).findDetails(ErrorInfoSchema)[0]?.reason;
}
