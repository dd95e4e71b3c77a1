import { type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { type Key, KeySchema } from "../gen/latchkey/v1/key_pb.ts";
import type { FreshnessSchema, VerifyKeyResponseSchema } from "../gen/latchkey/v1/key_service_pb.ts";
import type { RateLimitStatusSchema } from "../gen/latchkey/v1/limits_pb.ts";
import { EncodedMessage } from "./call.ts";

/*
 * VerifyKeyResponse, encoded by hand: protobuf-es takes 9 µs for it, a quarter of what the whole call costs otherwise.
 * The bytes are the ones that protobuf-es would write, field by field; a test compares them, and fails for a field that
 * this file does not know.
 */

/** Seconds and nanoseconds, as Timestamp and Duration both have them. */
interface Time {
  readonly seconds?: bigint;
  readonly nanos?: number;
}

/** Keeps its memory from message to message. */
const writer = new BinaryWriter();
/** Bytes of keys, since most calls are about keys that were shown before. */
const keyBytes = new WeakMap<Key, Uint8Array>();

/** @param response its `key` is a message that nobody changes any more, and is the same for the same record */
export function encodeVerdict(response: MessageInitShape<typeof VerifyKeyResponseSchema>): EncodedMessage {
  try {
    writeVerdict(response);
    return new EncodedMessage(writer.finish());
  } catch (error) {
    // Forgets what was written of it.
    writer.finish();
    throw error;
  }
}

function writeVerdict(response: MessageInitShape<typeof VerifyKeyResponseSchema>): void {
  const { key, freshness, retryAfter, secretExpireTime } = response;
  writeBool(1, response.valid);
  writeInt32(2, response.verdict);
  if (key !== undefined) writer.tag(3, WireType.LengthDelimited).bytes(bytesOf(key as Key));
  for (const status of response.rateLimits ?? []) writeMessage(4, status, writeRateLimitStatus);
  if (retryAfter !== undefined) writeMessage(5, retryAfter, writeTime);
  if (freshness !== undefined) writeMessage(6, freshness, writeFreshness);
  writeBool(7, response.degraded);
  if (secretExpireTime !== undefined) writeMessage(8, secretExpireTime, writeTime);
}

function writeRateLimitStatus(status: MessageInitShape<typeof RateLimitStatusSchema>): void {
  if (status.name !== undefined && status.name !== "") writer.tag(1, WireType.LengthDelimited).string(status.name);
  if (status.window !== undefined) writeMessage(2, status.window, writeTime);
  writeInt32(3, status.limit);
  writeInt32(4, status.remaining);
  if (status.resetAfter !== undefined) writeMessage(5, status.resetAfter, writeTime);
}

function writeFreshness(freshness: MessageInitShape<typeof FreshnessSchema>): void {
  writeInt32(1, freshness.source);
  if (freshness.asOfTime !== undefined) writeMessage(2, freshness.asOfTime, writeTime);
  if (freshness.maxStaleness !== undefined) writeMessage(3, freshness.maxStaleness, writeTime);
  writeInt64(4, freshness.position);
}

function writeTime({ seconds, nanos }: Time): void {
  writeInt64(1, seconds);
  writeInt32(2, nanos);
}

function writeMessage<M>(field: number, message: M, write: (message: M) => void): void {
  writer.tag(field, WireType.LengthDelimited).fork();
  write(message);
  writer.join();
}

/** Values that a reader assumes anyway are left out, in this and what follows. */
function writeBool(field: number, value: boolean | undefined): void {
  if (value) writer.tag(field, WireType.Varint).bool(value);
}

function writeInt32(field: number, value: number | undefined): void {
  if (value !== undefined && value !== 0) writer.tag(field, WireType.Varint).int32(value);
}

function writeInt64(field: number, value: bigint | undefined): void {
  if (value !== undefined && value !== 0n) writer.tag(field, WireType.Varint).int64(value);
}

function bytesOf(key: Key): Uint8Array {
  let bytes = keyBytes.get(key);
  if (bytes === undefined) {
    bytes = toBinary(KeySchema, key);
    keyBytes.set(key, bytes);
  }
  return bytes;
}
