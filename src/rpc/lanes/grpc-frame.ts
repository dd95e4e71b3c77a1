import { codecError } from "../errors.ts";

/*
 * A gRPC message on the wire: one byte of flags, its length in four bytes, big-endian, and the message
 * ("Length-Prefixed-Message" of gRPC over HTTP/2). It may be cut into pieces anywhere, or share a piece with others.
 */

/** Maximum size of an answer on every lane. Only a fault of this service makes a longer one. */
export const MAX_RESPONSE_BYTES = 16 * 1024 * 1024;

const PREFIX_BYTES = 5;
const COMPRESSED = 1;

/** A message with its prefix, not compressed. */
export function frame(message: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(PREFIX_BYTES + message.length);
  bytes[0] = 0;
  bytes.writeUInt32BE(message.length, 1);
  bytes.set(message, PREFIX_BYTES);
  return bytes;
}

/**
 * Reads a body that must contain exactly one message, not compressed. Its memory grows with the bytes that have come,
 * not with the announced length.
 */
export class FrameReader {
  readonly #maxBytes: number;
  #bytes: Uint8Array | undefined;
  #length = 0;

  /** @param maxBytes maximum size of the message */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /**
   * Takes the next piece of the body.
   *
   * @throws {ConnectError} RESOURCE_EXHAUSTED as soon as the message is announced to be too long, INTERNAL for one that
   *         is compressed though the call has no encoding, UNIMPLEMENTED for the first byte of a second one
   */
  push(piece: Uint8Array): void {
    if (this.#bytes === undefined) this.#bytes = piece;
    else this.#append(this.#bytes, piece);
    this.#length += piece.length;
    const end = this.#end();
    if (end > PREFIX_BYTES + this.#maxBytes) throw codecError("RESOURCE_EXHAUSTED");
    if (this.#length > 0 && (this.#bytes[0]! & COMPRESSED) !== 0) throw codecError("INTERNAL");
    if (this.#length > end) throw codecError("UNIMPLEMENTED");
    // Nearly every message comes in one piece, which is used without a copy. A piece that has to wait is copied,
    // because it may be a view of a larger buffer that it would keep alive.
    if (this.#bytes === piece && this.#length < end) this.#bytes = new Uint8Array(piece);
  }

  /**
   * The message, when the body has ended.
   *
   * @throws {ConnectError} UNIMPLEMENTED for none, INVALID_ARGUMENT for a part of one
   */
  finish(): Uint8Array {
    if (this.#bytes === undefined || this.#length === 0) throw codecError("UNIMPLEMENTED");
    if (this.#length < this.#end()) throw codecError("INVALID_ARGUMENT");
    return this.#bytes.subarray(PREFIX_BYTES, this.#length);
  }

  /** The offset at which the message ends, as far as it is known. */
  #end(): number {
    const bytes = this.#bytes;
    if (bytes === undefined || this.#length < PREFIX_BYTES) return PREFIX_BYTES;
    return PREFIX_BYTES + bytes[1]! * 2 ** 24 + ((bytes[2]! << 16) | (bytes[3]! << 8) | bytes[4]!);
  }

  #append(bytes: Uint8Array, piece: Uint8Array): void {
    const needed = this.#length + piece.length;
    let roomy = bytes;
    if (needed > bytes.length) {
      roomy = new Uint8Array(Math.max(needed, 2 * bytes.length));
      roomy.set(bytes.subarray(0, this.#length));
    }
    roomy.set(piece, this.#length);
    this.#bytes = roomy;
  }
}
