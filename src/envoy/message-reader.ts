const VARINT = 0;
const FIXED_64 = 1;
const LENGTH_DELIMITED = 2;
const START_GROUP = 3;
const END_GROUP = 4;
const FIXED_32 = 5;
/** Maximum nesting of unknown groups, as protobuf-es has it. */
const MAX_DEPTH = 100;

/** The tag of a length-delimited field: a text, bytes or a message. */
export function tagOf(field: number): number {
  return field * 8 + LENGTH_DELIMITED;
}

/**
 * Decoder of protobuf messages that makes no objects: a caller asks for the tag of each field, and enters, reads or
 * skips it. Every method throws an Error at bytes that are no protobuf.
 */
export class MessageReader {
  /** The position of the next byte. */
  at = 0;
  readonly bytes: Buffer;

  constructor(bytes: Uint8Array) {
    this.bytes = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  /** The tag of the next field: its number times 8, and its wire type. */
  tag(): number {
    const tag = this.#varint();
    if (tag < 8) throw malformed();
    return tag;
  }

  /** Enters a length-delimited field. @returns its end @param within the end of the message around it */
  enter(within: number): number {
    const length = this.#varint();
    const end = this.at + length;
    if (end > within) throw malformed();
    return end;
  }

  /** Leaves a message. Its last field must have ended exactly there. */
  leave(end: number): void {
    if (this.at !== end) throw malformed();
  }

  /** Skips a field whose tag was read. */
  skip(tag: number, within: number, depth = 0): void {
    const wire = tag & 7;
    if (wire === VARINT) this.#varint();
    else if (wire === FIXED_64) this.at += 8;
    else if (wire === LENGTH_DELIMITED) this.at = this.enter(within);
    else if (wire === FIXED_32) this.at += 4;
    else if (wire === START_GROUP && depth < MAX_DEPTH) this.#skipGroup(tag, within, depth);
    else throw malformed();
    if (this.at > within) throw malformed();
  }

  /** The bytes up to a position, one character for each. */
  latin1(end: number): string {
    const text = this.bytes.toString("latin1", this.at, end);
    this.at = end;
    return text;
  }

  /** The text up to a position. Bytes that are no UTF-8 become U+FFFD. */
  text(end: number): string {
    const text = this.bytes.toString("utf8", this.at, end);
    this.at = end;
    return text;
  }

  #skipGroup(start: number, within: number, depth: number): void {
    for (;;) {
      const tag = this.tag();
      if ((tag & 7) === END_GROUP) {
        if (tag >>> 3 !== start >>> 3) throw malformed();
        return;
      }
      this.skip(tag, within, depth + 1);
    }
  }

  /** A varint of up to 10 bytes; bits above the 32nd are read and dropped. */
  #varint(): number {
    const { bytes } = this;
    const first = bytes[this.at];
    if (first !== undefined && first < 0x80) {
      this.at++;
      return first;
    }
    let value = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = bytes[this.at++];
      if (byte === undefined) throw malformed();
      if (shift < 32) value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
    }
    throw malformed();
  }
}

function malformed(): Error {
  return new Error("not a protobuf message");
}
