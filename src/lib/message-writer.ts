const VARINT = 0;
const FIXED_64 = 1;
const LENGTH_DELIMITED = 2;
const FIRST_CAPACITY = 1024;
/** Bytes of the longest UTF-8 form of one of a string's characters. */
const MAX_UTF8 = 3;
/** Characters of a text whose UTF-8 form surely has less than 128 bytes. */
const MAX_SHORT = 42;
/** Bytes of the longest varint, and so of the longest tag and the longest length. */
const MAX_VARINT = 10;

/**
 * Encoder of protobuf messages. It writes one message after another into one buffer that it keeps, because protobuf-es
 * allocates a new buffer outside the heap for each message. As proto3 requires, it leaves out default values: false, 0
 * and empty.
 */
export class MessageWriter {
  #buffer = Buffer.allocUnsafe(FIRST_CAPACITY);
  #length = 0;

  /** Begins a message. Discards an unfinished one. */
  begin(): void {
    this.#length = 0;
  }

  /** A copy of the finished message. */
  finish(): Buffer {
    const bytes = Buffer.allocUnsafe(this.#length);
    this.#buffer.copy(bytes, 0, 0, this.#length);
    return bytes;
  }

  bool(field: number, value: boolean | undefined): void {
    if (value) this.#number(field, 1);
  }

  /** An int32 or an enum. */
  int32(field: number, value: number | undefined): void {
    if (value === undefined || value === 0) return;
    if (value !== (value | 0)) throw new RangeError(`${value} is not an int32`);
    if (value > 0) this.#number(field, value);
    else this.#bigint(field, BigInt(value));
  }

  int64(field: number, value: bigint | undefined): void {
    if (value === undefined || value === 0n) return;
    if (value > 0n && value <= Number.MAX_SAFE_INTEGER) this.#number(field, Number(value));
    else this.#bigint(field, value);
  }

  /** An int64 that is a safe integer. */
  integer(field: number, value: number): void {
    if (value === 0) return;
    if (!Number.isSafeInteger(value)) throw new RangeError(`${value} is not a safe integer`);
    if (value > 0) this.#number(field, value);
    else this.#bigint(field, BigInt(value));
  }

  fixed64(field: number, value: bigint): void {
    if (value === 0n) return;
    this.#reserve(MAX_VARINT + 8);
    this.#varint(field * 8 + FIXED_64);
    this.#length = this.#buffer.writeBigUInt64LE(value, this.#length);
  }

  string(field: number, value: string | undefined): void {
    if (value === undefined || value === "") return;
    if (value.length > MAX_SHORT) {
      this.bytes(field, Buffer.from(value));
      return;
    }
    this.#reserve(2 * MAX_VARINT + MAX_UTF8 * value.length);
    this.#varint(field * 8 + LENGTH_DELIMITED);
    // At most 126 bytes, so its length has one byte.
    const written = this.#buffer.write(value, this.#length + 1);
    this.#buffer[this.#length] = written;
    this.#length += 1 + written;
  }

  /** Bytes, or a message that is already encoded. Writes the field even if it is empty. */
  bytes(field: number, value: Uint8Array): void {
    this.#reserve(2 * MAX_VARINT + value.length);
    this.#varint(field * 8 + LENGTH_DELIMITED);
    this.#varint(value.length);
    this.#buffer.set(value, this.#length);
    this.#length += value.length;
  }

  /** Bytes as a latin1 string, one character a byte. */
  latin1(field: number, value: string): void {
    this.#reserve(2 * MAX_VARINT + value.length);
    this.#varint(field * 8 + LENGTH_DELIMITED);
    this.#varint(value.length);
    this.#length += this.#buffer.write(value, this.#length, "latin1");
  }

  /** A nested message, whose fields `write` writes. Writes nothing for undefined. */
  message<M>(field: number, message: M | undefined, write: (writer: this, message: M) => void): void {
    if (message === undefined) return;
    this.#reserve(2 * MAX_VARINT);
    this.#varint(field * 8 + LENGTH_DELIMITED);
    // One byte for the length, because most messages are shorter than 128 bytes. Longer ones are moved afterwards.
    const start = ++this.#length;
    write(this, message);
    const length = this.#length - start;
    this.#reserve(MAX_VARINT);
    const shift = varintLength(length) - 1;
    if (shift > 0) this.#buffer.copyWithin(start + shift, start, this.#length);
    this.#length = start - 1;
    this.#varint(length);
    this.#length += length;
  }

  #number(field: number, value: number): void {
    this.#reserve(2 * MAX_VARINT);
    this.#varint(field * 8 + VARINT);
    this.#varint(value);
  }

  #bigint(field: number, value: bigint): void {
    this.#reserve(2 * MAX_VARINT);
    this.#varint(field * 8 + VARINT);
    let rest = BigInt.asUintN(64, value);
    for (; rest > 0x7fn; rest >>= 7n) this.#buffer[this.#length++] = Number(rest & 0x7fn) | 0x80;
    this.#buffer[this.#length++] = Number(rest);
  }

  /** @param value not negative, at most 2^53-1 */
  #varint(value: number): void {
    let rest = value;
    // Bit operators work on 31 bits, so larger values need a division.
    for (; rest > 0x7fffffff; rest = Math.floor(rest / 128)) this.#buffer[this.#length++] = (rest % 128) | 0x80;
    for (; rest > 0x7f; rest >>>= 7) this.#buffer[this.#length++] = (rest & 0x7f) | 0x80;
    this.#buffer[this.#length++] = rest;
  }

  #reserve(bytes: number): void {
    const needed = this.#length + bytes;
    if (needed <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(needed, 2 * this.#buffer.length));
    this.#buffer.copy(larger, 0, 0, this.#length);
    this.#buffer = larger;
  }
}

function varintLength(value: number): number {
  let length = 1;
  for (let rest = value; rest > 0x7f; rest >>>= 7) length++;
  return length;
}

/** A time in whole milliseconds, rounded down as `toTimestamp` does. */
export function writeTimestamp(to: MessageWriter, ms: number): void {
  writeSeconds(to, Math.floor(ms));
}

/** A span in whole milliseconds, rounded up as `toDuration` does. Not negative. */
export function writeDuration(to: MessageWriter, ms: number): void {
  writeSeconds(to, Math.ceil(ms));
}

function writeSeconds(to: MessageWriter, ms: number): void {
  const seconds = Math.floor(ms / 1000);
  to.integer(1, seconds);
  to.int32(2, (ms - seconds * 1000) * 1e6);
}
