import { type ClientHttp2Session, connect } from "node:http2";

/** One RPC as bytes, with a check of its answer. Every load generator sends the same bytes. */
export interface Rpc {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  /** gRPC frames its messages and says in trailers how the call went; Connect's unary calls do neither. */
  readonly protocol: "grpc" | "connect";
  /** Checks an answer's message. @throws Error that says what is wrong with it */
  check(message: Uint8Array): void;
}

/** Length of the flag and the size before a gRPC message. */
const GRPC_HEAD_BYTES = 5;

export function grpcRpc(path: string, credential: string, message: Uint8Array, check: Rpc["check"]): Rpc {
  const head = Buffer.alloc(GRPC_HEAD_BYTES);
  head.writeUInt32BE(message.length, 1);
  const headers = { "content-type": "application/grpc", te: "trailers", authorization: `Bearer ${credential}` };
  return { path, headers, body: Buffer.concat([head, message]), protocol: "grpc", check };
}

export function connectRpc(path: string, credential: string, message: Uint8Array, check: Rpc["check"]): Rpc {
  const headers = {
    "content-type": "application/proto",
    "connect-protocol-version": "1",
    authorization: `Bearer ${credential}`,
  };
  return { path, headers, body: Buffer.from(message), protocol: "connect", check };
}

/** Opens connections to a server. Rejects if nothing answers. */
export function connectAll(port: number, count: number): Promise<ClientHttp2Session[]> {
  return Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<ClientHttp2Session>((resolve, reject) => {
          const session = connect(`http://127.0.0.1:${port}`);
          session.on("error", reject);
          session.once("connect", () => resolve(session));
        }),
    ),
  );
}

/** Makes a call. @throws Error unless it succeeds by its protocol, with the expected answer */
export function call(session: ClientHttp2Session, rpc: Rpc): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const stream = session.request({ ":method": "POST", ":path": rpc.path, ...rpc.headers });
  const chunks: Buffer[] = [];
  let httpStatus: unknown;
  let grpcStatus: unknown;
  let grpcMessage: unknown;
  let hasEnded = false;

  function settle(): void {
    if (!hasEnded || (rpc.protocol === "grpc" && grpcStatus === undefined)) return;
    try {
      if (httpStatus !== 200) throw new Error(`HTTP status ${httpStatus}: ${Buffer.concat(chunks)}`);
      if (rpc.protocol === "grpc" && grpcStatus !== "0") throw new Error(`grpc-status ${grpcStatus}: ${grpcMessage}`);
      const answer = Buffer.concat(chunks);
      rpc.check(rpc.protocol === "grpc" ? answer.subarray(GRPC_HEAD_BYTES) : answer);
      resolve();
    } catch (error) {
      reject(error);
    }
  }
  function read(headers: Record<string, unknown>): void {
    grpcStatus ??= headers["grpc-status"];
    grpcMessage ??= headers["grpc-message"];
  }
  stream.on("response", (headers) => {
    httpStatus = headers[":status"];
    read(headers);
  });
  stream.on("trailers", (trailers) => {
    read(trailers);
    settle();
  });
  stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  stream.on("end", () => {
    hasEnded = true;
    settle();
  });
  stream.on("error", reject);
  stream.on("close", () => reject(new Error(`the stream closed without an answer, HTTP status ${httpStatus}`)));
  stream.end(rpc.body);
  return promise;
}
