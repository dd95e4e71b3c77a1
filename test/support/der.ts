/** DER (X.690), as much of it as certificates need. */

/** An element with its tag. Its contents are other elements or bytes. */
export function der(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(contents);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length);
  const significant = length.subarray(length.findIndex((byte) => byte !== 0));
  const isShort = body.length < 0x80;
  const head = isShort ? [tag, body.length] : [tag, 0x80 + significant.length, ...significant];
  return Buffer.concat([Buffer.from(head), body]);
}

export const sequence = (...contents: readonly Uint8Array[]) => der(0x30, ...contents);

/** A positive INTEGER from its bytes, the highest first. */
export function integer(bytes: Uint8Array): Buffer {
  return bytes[0]! < 0x80 ? der(0x02, bytes) : der(0x02, Buffer.of(0), bytes);
}

export const bitString = (bytes: Uint8Array) => der(0x03, Buffer.of(0), bytes);

/** An OBJECT IDENTIFIER from the hex digits of its contents. */
export const oid = (hex: string) => der(0x06, Buffer.from(hex, "hex"));
