import { isUtf8 } from "node:buffer";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { MAX_ENTRIES } from "./rate-limit-rules.ts";

/*
 * The fields of envoy.service.ratelimit.v3.RateLimitRequest. They are read here and not by protobuf-es, which refuses a
 * text that is no UTF-8. Values of descriptors come from Envoy's clients. They could so choose that Envoy gets no
 * answer.
 */

/** A request of Envoy's rate limit filter. A message of protobuf-es is one, too. */
export interface AskedLimits {
  readonly domain: string;
  readonly descriptors: readonly AskedDescriptor[];
  /** 0 if the message has none. */
  readonly hitsAddend: number;
}

export interface AskedDescriptor {
  readonly entries: readonly { readonly key: string; readonly value: string }[];
  readonly limit?: AskedLimit | undefined;
  readonly hitsAddend?: bigint | undefined;
  readonly isNegativeHits: boolean;
}

export interface AskedLimit {
  readonly requestsPerUnit: number;
  /** A number of envoy.type.v3.RateLimitUnit, or any other. */
  readonly unit: number;
}

/** Maximum descriptors of a request. */
export const MAX_DESCRIPTORS = 32;

type Writable<T> = { -readonly [K in keyof T]: T[K] };
/** By the tag of a field. One that returns SKIP_REST ends the reading of the message. */
type FieldReaders = Readonly<Record<number, () => unknown>>;

const SKIP_REST = "skip the rest";

/**
 * Reads the message. Of descriptors, and of entries of one, it keeps at most one more than the maximum: that shows that
 * there are too many, and 100,000 of them take no time.
 *
 * @throws {Error} for bytes that are no protobuf
 */
export function readRateLimitRequest(bytes: Uint8Array): AskedLimits {
  const descriptors: AskedDescriptor[] = [];
  const request: Writable<AskedLimits> = { domain: "", descriptors, hitsAddend: 0 };
  const reader = new BinaryReader(bytes);
  readFields(reader, bytes.length, {
    [texts(1)]: () => {
      request.domain = textOf(reader.bytes());
    },
    [texts(2)]: () => keep(reader, descriptors, MAX_DESCRIPTORS, readDescriptor),
    [varints(3)]: () => {
      request.hitsAddend = reader.uint32();
    },
  });
  return request;
}

/**
 * A text. If it is no UTF-8, each byte b from 0x80 on becomes the lone surrogate 0xDC00 + b. So no byte is lost, and no
 * other text is the same.
 */
export function textOf(bytes: Uint8Array): string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (isUtf8(buffer)) return buffer.toString("utf8");
  return buffer.toString("latin1").replace(/[\x80-\xff]/g, (byte) => String.fromCharCode(0xdc00 + byte.charCodeAt(0)));
}

function keep<T>(reader: BinaryReader, kept: T[], max: number, read: (reader: BinaryReader) => T) {
  kept.push(read(reader));
  return kept.length > max ? SKIP_REST : undefined;
}

function readDescriptor(reader: BinaryReader): AskedDescriptor {
  const entries: { key: string; value: string }[] = [];
  const descriptor: Writable<AskedDescriptor> = { entries, isNegativeHits: false };
  readMessage(reader, {
    [texts(1)]: () => keep(reader, entries, MAX_ENTRIES, readEntry),
    [texts(2)]: () => {
      descriptor.limit = readLimit(reader);
    },
    [texts(3)]: () => {
      descriptor.hitsAddend = readWrapped(reader);
    },
    [varints(4)]: () => {
      descriptor.isNegativeHits = reader.bool();
    },
  });
  return descriptor;
}

function readEntry(reader: BinaryReader) {
  const entry = { key: "", value: "" };
  readMessage(reader, {
    [texts(1)]: () => {
      entry.key = textOf(reader.bytes());
    },
    [texts(2)]: () => {
      entry.value = textOf(reader.bytes());
    },
  });
  return entry;
}

function readLimit(reader: BinaryReader): AskedLimit {
  const limit = { requestsPerUnit: 0, unit: 0 };
  readMessage(reader, {
    [varints(1)]: () => {
      limit.requestsPerUnit = reader.uint32();
    },
    [varints(2)]: () => {
      limit.unit = reader.int32();
    },
  });
  return limit;
}

/** A google.protobuf.UInt64Value. */
function readWrapped(reader: BinaryReader): bigint {
  let value = 0n;
  readMessage(reader, {
    [varints(1)]: () => {
      value = BigInt(reader.uint64());
    },
  });
  return value;
}

function readMessage(reader: BinaryReader, readers: FieldReaders): void {
  const length = reader.uint32();
  readFields(reader, reader.pos + length, readers);
}

/** Reads the fields of a message up to its end. Fields without a reader are skipped. */
function readFields(reader: BinaryReader, end: number, readers: FieldReaders): void {
  while (reader.pos < end) {
    const [field, wire] = reader.tag();
    const read = readers[field * 8 + wire];
    if (read === undefined) reader.skip(wire, field);
    else if (read() === SKIP_REST) reader.pos = end;
  }
  if (reader.pos !== end) throw new Error("not a protobuf message");
}

/** The tag of a text or a message. */
function texts(field: number): number {
  return field * 8 + WireType.LengthDelimited;
}

function varints(field: number): number {
  return field * 8 + WireType.Varint;
}
