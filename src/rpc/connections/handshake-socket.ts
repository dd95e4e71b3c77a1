import type { Socket } from "node:net";
import { SocketStream } from "./socket-stream.ts";

/**
 * Maximum bytes that a client may send until its handshake is done: a ClientHello of up to 2 KiB, and a chain of
 * certificates. OpenSSL's own maximum is 100 KiB. It checks every signature of a chain in one turn, before the client
 * has proved a key. A certificate of 4.3 KiB with a made-up RSA key costs 11 ms, so two of them fit.
 */
export const MAX_HANDSHAKE_BYTES = 10 * 1024;

/**
 * A connection whose client may show certificates. Until the handshake is done, OpenSSL gets the bytes of each read in
 * a turn of their own, and the connection is destroyed at MAX_HANDSHAKE_BYTES. Afterwards they pass freely. That costs
 * a call about 10 µs, because bytes pass through JavaScript.
 */
export class HandshakeSocket extends SocketStream {
  readonly #turn: () => Promise<boolean>;
  readonly #onStep: (isStepping: boolean) => void;
  #left = MAX_HANDSHAKE_BYTES;
  #isDone = false;
  /** Whether bytes of the handshake wait for their turn. */
  #isWaiting = false;
  #hasEnded = false;

  /**
   * @param turn waits for the turn of a step of a handshake; resolves to false if too many wait
   * @param onStep called with true before OpenSSL gets bytes of the handshake, and with false afterwards
   */
  constructor(socket: Socket, turn: () => Promise<boolean>, onStep: (isStepping: boolean) => void) {
    super(socket);
    this.#turn = turn;
    this.#onStep = onStep;
    socket.on("data", (chunk: Buffer) => {
      if (!this.#isDone) void this.#giveInTurn(chunk);
      else if (!this.push(chunk)) socket.pause();
    });
    socket.on("end", () => {
      this.#hasEnded = true;
      if (!this.#isWaiting) this.push(null);
    });
    socket.on("close", () => void this.destroy());
  }

  /** The handshake is done. */
  free(): void {
    this.#isDone = true;
  }

  override _read(): void {
    if (!this.#isWaiting) this.socket.resume();
  }

  async #giveInTurn(chunk: Buffer): Promise<void> {
    this.#isWaiting = true;
    this.socket.pause();
    const mayGive = await this.#turn();
    if (!mayGive) this.destroy();
    if (this.destroyed) return;
    const part = chunk.subarray(0, this.#left);
    this.#left -= part.length;
    this.#onStep(true);
    this.push(part);
    // OpenSSL reads the part before the next turn, and calls of a good client may follow its handshake immediately.
    setImmediate(() => this.#goOn(chunk.subarray(part.length)));
  }

  #goOn(rest: Buffer): void {
    this.#onStep(false);
    if (!this.#isDone && this.#left === 0) this.destroy();
    if (this.destroyed) return;
    this.#isWaiting = false;
    if (rest.length > 0) this.push(rest);
    if (this.#hasEnded) this.push(null);
    else this.socket.resume();
  }
}
