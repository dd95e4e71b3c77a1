import type { Socket } from "node:net";
import { Duplex } from "node:stream";

/**
 * A stream over a socket, whose reads its subclass decides. Writes, ends and addresses are those of the socket. It
 * needs a `close` listener of its subclass for the end of the socket.
 */
export abstract class SocketStream extends Duplex {
  protected readonly socket: Socket;

  constructor(socket: Socket) {
    super({ allowHalfOpen: true });
    this.socket = socket;
  }

  get remoteAddress(): string | undefined {
    return this.socket.remoteAddress;
  }

  get remotePort(): number | undefined {
    return this.socket.remotePort;
  }

  override _write(chunk: Buffer, encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.socket.write(chunk, encoding, done);
  }

  override _writev(chunks: readonly { chunk: Buffer; encoding: BufferEncoding }[], done: () => void): void {
    this.socket.cork();
    for (const [at, { chunk, encoding }] of chunks.entries()) {
      this.socket.write(chunk, encoding, at === chunks.length - 1 ? done : undefined);
    }
    this.socket.uncork();
  }

  override _final(done: () => void): void {
    this.socket.end(done);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.socket.destroy();
    done(error);
  }
}
