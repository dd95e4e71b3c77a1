import { type BinaryReader, WireType } from "@bufbuild/protobuf/wire";

/** Says of a field that it is not needed. */
export const SKIP = Symbol("skip the field");
/** Says of a field that nothing after it is needed in its message. */
export const SKIP_REST = Symbol("skip the rest");

/**
 * Reads the field of this tag into the object of its message, or says that it is not needed.
 *
 * @param tag as `lengthDelimited` and `varint` make it
 */
export type ReadField<T> = (tag: number, reader: BinaryReader, into: T) => typeof SKIP | typeof SKIP_REST | undefined;

/** The tag of a text, of bytes or of a message. */
export function lengthDelimited(field: number): number {
  return field * 8 + WireType.LengthDelimited;
}

/** The tag of a number. */
export function varint(field: number): number {
  return field * 8 + WireType.Varint;
}

/** Reads the fields of a message up to its end. @throws {Error} for bytes that are no protobuf */
export function readFields<T>(reader: BinaryReader, end: number, into: T, read: ReadField<T>): T {
  while (reader.pos < end) {
    const [field, wire] = reader.tag();
    const said = read(field * 8 + wire, reader, into);
    if (said === SKIP) reader.skip(wire, field);
    else if (said === SKIP_REST) reader.pos = end;
  }
  if (reader.pos !== end) throw new Error("not a protobuf message");
  return into;
}

/** Reads the message in a field whose tag was read. @throws {Error} for bytes that are no protobuf */
export function readMessage<T>(reader: BinaryReader, into: T, read: ReadField<T>): T {
  const length = reader.uint32();
  return readFields(reader, reader.pos + length, into, read);
}
