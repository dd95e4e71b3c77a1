import { isUtf8 } from "node:buffer";
import { BinaryReader } from "@bufbuild/protobuf/wire";
import { lengthDelimited, type ReadField, readFields, readMessage, SKIP, SKIP_REST, varint } from "./message-fields.ts";
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

/** A message while it is read. */
interface Draft extends Writable<AskedLimits> {
  readonly descriptors: AskedDescriptor[];
}
interface DescriptorDraft extends Writable<AskedDescriptor> {
  readonly entries: { key: string; value: string }[];
}

/** Fields of the message. */
const DOMAIN = lengthDelimited(1);
const DESCRIPTORS = lengthDelimited(2);
const HITS_ADDEND = varint(3);
/** Of a descriptor. */
const ENTRIES = lengthDelimited(1);
const LIMIT = lengthDelimited(2);
const HITS_OF_DESCRIPTOR = lengthDelimited(3);
const IS_NEGATIVE_HITS = varint(4);
/** Of an entry. */
const KEY = lengthDelimited(1);
const VALUE = lengthDelimited(2);
/** Of a limit. */
const REQUESTS_PER_UNIT = varint(1);
const UNIT = varint(2);
/** Of a google.protobuf.UInt64Value. */
const WRAPPED = varint(1);

/**
 * Reads the message. Of descriptors, and of entries of one, it keeps at most one more than the maximum: that shows that
 * there are too many, and 100,000 of them take no time.
 *
 * @throws {Error} for bytes that are no protobuf
 */
export function readRateLimitRequest(bytes: Uint8Array): AskedLimits {
  const draft: Draft = { domain: "", descriptors: [], hitsAddend: 0 };
  return readFields(new BinaryReader(bytes), bytes.length, draft, readRequest);
}

const readRequest: ReadField<Draft> = (tag, reader, into) => {
  switch (tag) {
    case DOMAIN:
      into.domain = textOf(reader.bytes());
      return;
    case DESCRIPTORS:
      into.descriptors.push(readMessage(reader, { entries: [], isNegativeHits: false }, readDescriptor));
      return into.descriptors.length > MAX_DESCRIPTORS ? SKIP_REST : undefined;
    case HITS_ADDEND:
      into.hitsAddend = reader.uint32();
      return;
    default:
      return SKIP;
  }
};

const readDescriptor: ReadField<DescriptorDraft> = (tag, reader, into) => {
  switch (tag) {
    case ENTRIES:
      into.entries.push(readMessage(reader, { key: "", value: "" }, readEntry));
      return into.entries.length > MAX_ENTRIES ? SKIP_REST : undefined;
    case LIMIT:
      into.limit = readMessage(reader, { requestsPerUnit: 0, unit: 0 }, readLimit);
      return;
    case HITS_OF_DESCRIPTOR:
      into.hitsAddend = readMessage(reader, { value: 0n }, readWrapped).value;
      return;
    case IS_NEGATIVE_HITS:
      into.isNegativeHits = reader.bool();
      return;
    default:
      return SKIP;
  }
};

const readEntry: ReadField<{ key: string; value: string }> = (tag, reader, into) => {
  if (tag === KEY) into.key = textOf(reader.bytes());
  else if (tag === VALUE) into.value = textOf(reader.bytes());
  else return SKIP;
};

const readLimit: ReadField<Writable<AskedLimit>> = (tag, reader, into) => {
  if (tag === REQUESTS_PER_UNIT) into.requestsPerUnit = reader.uint32();
  else if (tag === UNIT) into.unit = reader.int32();
  else return SKIP;
};

const readWrapped: ReadField<{ value: bigint }> = (tag, reader, into) => {
  if (tag !== WRAPPED) return SKIP;
  into.value = BigInt(reader.uint64());
};

/**
 * A text. If it is no UTF-8, each byte b from 0x80 on becomes the lone surrogate 0xDC00 + b. So no byte is lost, and no
 * other text is the same.
 */
export function textOf(bytes: Uint8Array): string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (isUtf8(buffer)) return buffer.toString("utf8");
  return buffer.toString("latin1").replace(/[\x80-\xff]/g, (byte) => String.fromCharCode(0xdc00 + byte.charCodeAt(0)));
}
