import type { Socket } from "node:net";
import { SocketStream } from "./socket-stream.ts";

/**
 * Maximum bytes that the HTTP/1.1 parser gets at a time. The parser calls back for each request in a piece before
 * anything else happens. The shortest request has 18 bytes, so 56 requests fit, which takes about 1 ms.
 */
const PIECE_BYTES = 1024;
/** The same in the middle of a body, which contains no further request. */
const BODY_PIECE_BYTES = 16 * 1024;

/** Turns of the event loop that connections of all addresses share. */
export interface SocketTurns {
  /** Waits for the turn of a piece. Resolves to false if too many wait. */
  piece(address: string): Promise<boolean>;
  /** Runs the end of a connection in its turn. */
  end(address: string, task: () => void): void;
}

/** The request that is being served. */
interface Current {
  /** Whether the request's whole body is parsed. */
  isComplete(): boolean;
}

/**
 * An HTTP/1.1 connection that gives node's parser one request at a time. While a request is served, nothing beyond it
 * is read. So pipelining (RFC 9112, 9.3.2) costs one turn of the event loop for each request, and what a client sends
 * in advance waits in its own socket. Node by itself parses and begins everything that one read brings, without a
 * bound.
 */
export class PacedSocket extends SocketStream {
  #rest: Buffer | undefined;
  #current: Current | undefined;
  /** Whether the parser waits for a piece. */
  #isWanted = false;
  /** Whether a piece waits for its turn. */
  #isWaiting = false;
  readonly #turns: SocketTurns;
  readonly #address: string;

  constructor(socket: Socket, turns: SocketTurns) {
    super(socket);
    this.#turns = turns;
    // A closed socket has no address.
    this.#address = socket.remoteAddress ?? "";
    socket.on("readable", () => this.#pump());
    socket.on("end", () => this.#pump());
    socket.on("timeout", () => this.emit("timeout"));
    let failure: Error | undefined;
    socket.on("error", (error) => {
      failure = error;
    });
    // When a connection ends, Node makes an error for each of its parsed requests: 7,000 errors for 200 connections.
    socket.on("close", () => turns.end(this.#address, () => void this.destroy(failure)));
  }

  /** A request has begun. Nothing beyond it is read until `release`. */
  hold(current: Current): void {
    this.#current = current;
  }

  /** The request has been answered. */
  release(): void {
    this.#current = undefined;
    setImmediate(() => this.#pump());
  }

  /** Whether a request is being served. */
  get isHeld(): boolean {
    return this.#current !== undefined;
  }

  get encrypted(): boolean {
    return "encrypted" in this.socket;
  }

  setTimeout(ms: number, onTimeout?: () => void): this {
    this.socket.setTimeout(ms);
    if (onTimeout !== undefined) this.once("timeout", onTimeout);
    return this;
  }

  /** Pumps in a later turn, so that the parser has seen one piece before it gets the next one. */
  override _read(): void {
    if (this.#isWanted) return;
    this.#isWanted = true;
    setImmediate(() => this.#pump());
  }

  /** Gives the parser a piece in its turn, because a thousand connections may have one at the same time. */
  #pump(): void {
    if (this.#isWaiting || !this.#mayRead()) return;
    if (this.#rest === undefined && this.socket.readableLength === 0) {
      if (this.socket.readableEnded) this.#give(null);
      // Makes the socket read on; it emits `readable` when it has bytes.
      else this.socket.read(0);
      return;
    }
    this.#isWaiting = true;
    void this.#giveInTurn();
  }

  async #giveInTurn(): Promise<void> {
    const mayGive = await this.#turns.piece(this.#address);
    this.#isWaiting = false;
    if (!mayGive) this.destroy();
    if (!this.#mayRead()) return;
    const piece = this.#take(this.#isInBody ? BODY_PIECE_BYTES : PIECE_BYTES);
    if (piece === null) this.#pump();
    else this.#give(piece);
  }

  #mayRead(): boolean {
    return this.#isWanted && !this.destroyed && (this.#current === undefined || this.#isInBody);
  }

  get #isInBody(): boolean {
    return this.#current !== undefined && !this.#current.isComplete();
  }

  /** Pushes a piece; the stream then calls `_read` again by itself. */
  #give(piece: Buffer | null): void {
    this.#isWanted = false;
    this.push(piece);
  }

  #take(mostBytes: number): Buffer | null {
    const rest: Buffer | null = this.#rest ?? this.socket.read();
    if (rest === null) return null;
    this.#rest = rest.length > mostBytes ? rest.subarray(mostBytes) : undefined;
    return rest.subarray(0, mostBytes);
  }
}
