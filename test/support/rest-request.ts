/** Requests of plain HTTP, exactly as a test writes them, over HTTP/1.1 or HTTP/2. */
import { Agent, request as httpRequest } from "node:http";
import { type ClientHttp2Session, connect } from "node:http2";

export interface RestRequest {
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  /** Leaves the request incomplete: the answer must not wait for its rest. */
  readonly isOpen?: boolean;
  readonly signal?: AbortSignal;
}

export interface RestAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
  /** The body as JSON; undefined without a body. */
  // biome-ignore lint/suspicious/noExplicitAny: each test knows the form of its answer
  readonly json: any;
}

export interface RestClient extends Disposable {
  ask(verb: string, target: string, request?: RestRequest): Promise<RestAnswer>;
}

export type RestProtocol = "HTTP/1.1" | "HTTP/2";

/** A client with one connection. @param address `host:port` */
export function restClient(protocol: RestProtocol, address: string): RestClient {
  return protocol === "HTTP/1.1" ? http1Client(address) : http2Client(address);
}

function http1Client(address: string): RestClient {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  return {
    ask: (method, path, { headers = {}, body, isOpen, signal } = {}) =>
      new Promise((resolve, reject) => {
        // Node would send the body of some methods without a length, as if it were the next request.
        const length = body === undefined || isOpen ? {} : { "content-length": Buffer.byteLength(body) };
        const options = { agent, method, path, headers: { ...length, ...headers }, ...(signal && { signal }) };
        const request = httpRequest(`http://${address}`, options, (response) => {
          const pieces: Buffer[] = [];
          response.on("data", (piece: Buffer) => pieces.push(piece));
          response.on("end", () => {
            resolve(answerOf(response.statusCode!, response.headers, pieces));
            if (isOpen) request.destroy();
          });
        });
        request.on("error", reject);
        if (isOpen) request.flushHeaders();
        else request.end(body);
        if (isOpen && body !== undefined) request.write(body);
      }),
    [Symbol.dispose]: () => agent.destroy(),
  };
}

function http2Client(address: string): RestClient {
  let session: ClientHttp2Session | undefined;
  return {
    ask: (verb, target, { headers = {}, body, isOpen, signal } = {}) =>
      new Promise((resolve, reject) => {
        session ??= connect(`http://${address}`).on("error", () => {});
        const endStream = body === undefined && !isOpen;
        const options = { endStream, ...(signal && { signal }) };
        const stream = session.request({ ...headers, ":method": verb, ":path": target }, options);
        const pieces: Buffer[] = [];
        let head: Record<string, unknown> = {};
        stream.on("response", (received) => {
          head = received;
        });
        stream.on("data", (piece: Buffer) => pieces.push(piece));
        stream.on("error", reject);
        stream.on("close", () => resolve(answerOf(Number(head[":status"]), head, pieces)));
        if (body !== undefined) stream.write(body);
        if (!isOpen) stream.end();
      }),
    [Symbol.dispose]: () => session?.destroy(),
  };
}

function answerOf(status: number, received: object, pieces: readonly Buffer[]): RestAnswer {
  const text = Buffer.concat(pieces).toString("utf8");
  const headers = Object.fromEntries(Object.entries(received).map(([name, value]) => [name, String(value)]));
  return { status, headers, text, json: text === "" ? undefined : JSON.parse(text) };
}
