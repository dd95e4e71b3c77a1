import { type ClientHttp2Session, type ClientHttp2Stream, connect } from "node:http2";
import { grpcMessage } from "./raw-http2.ts";

/** Number of bytes of a message's head that an open call has sent. */
const HEAD_BYTES = 3;

/** A unary gRPC call on a connection of its own, which has sent only a part of its message. */
export class OpenCall {
  /** The call's grpc-status, or `cut` if its connection ended. */
  readonly outcome: Promise<string>;
  readonly #session: ClientHttp2Session;
  readonly #stream: ClientHttp2Stream;
  readonly #message: Buffer;

  /** @param method `latchkey.v1.AuthService/Logout` @param bytes the request message */
  constructor(address: string, method: string, bytes: Uint8Array, headers: Readonly<Record<string, string>> = {}) {
    this.#message = grpcMessage(bytes);
    this.#session = connect(`http://${address}`);
    this.#session.on("error", () => {});
    this.#stream = this.#session.request({
      ":method": "POST",
      ":path": `/${method}`,
      "content-type": "application/grpc",
      ...headers,
    });
    this.#stream.on("error", () => {});
    this.#stream.resume();
    this.outcome = new Promise((resolve) => {
      this.#stream.on("trailers", (trailers) => resolve(String(trailers["grpc-status"])));
      this.#stream.on("response", (head) => "grpc-status" in head && resolve(String(head["grpc-status"])));
      this.#stream.on("close", () => {
        resolve("cut");
        this.#session.destroy();
      });
    });
  }

  /** Resolves when the service has the call's head and waits for the rest. */
  async begun(): Promise<void> {
    await new Promise<void>((resolve) => this.#stream.write(this.#message.subarray(0, HEAD_BYTES), () => resolve()));
    await new Promise<void>((resolve) => this.#session.ping(() => resolve()));
  }

  finish(): void {
    this.#stream.end(this.#message.subarray(HEAD_BYTES));
  }
}
