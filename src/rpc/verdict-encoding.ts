import { type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { type Key, KeySchema } from "../gen/latchkey/v1/key_pb.ts";
import type { FreshnessSchema, VerifyKeyResponseSchema } from "../gen/latchkey/v1/key_service_pb.ts";
import type { RateLimitStatusSchema } from "../gen/latchkey/v1/limits_pb.ts";
import { EncodedMessage } from "./call.ts";
import { MessageWriter } from "./message-writer.ts";

/*
 * VerifyKeyResponse, encoded by hand: protobuf-es takes 6 to 9 µs for it, a fifth of what the call costs. The bytes are
 * the ones that protobuf-es would write, field by field; a test compares them, and fails for a field that this file does
 * not know.
 */

type Verdict = MessageInitShape<typeof VerifyKeyResponseSchema>;
type Freshness = MessageInitShape<typeof FreshnessSchema>;
type RateLimitStatus = MessageInitShape<typeof RateLimitStatusSchema>;

/** Seconds and nanoseconds, as Timestamp and Duration both have them. */
interface Time {
  readonly seconds?: bigint;
  readonly nanos?: number;
}

const writer = new MessageWriter();
/** Bytes of keys, since most calls are about keys that were shown before. */
const keyBytes = new WeakMap<Key, Uint8Array>();

/** @param verdict its `key` is a message that nobody changes any more, and is the same for the same record */
export function encodeVerdict(verdict: Verdict): EncodedMessage {
  try {
    writeVerdict(verdict);
  } catch (error) {
    // Forgets what was written of it.
    writer.finish();
    throw error;
  }
  return new EncodedMessage(writer.finish());
}

function writeVerdict(verdict: Verdict): void {
  writer.bool(1, verdict.valid);
  writer.int32(2, verdict.verdict);
  if (verdict.key !== undefined) writer.bytes(3, bytesOf(verdict.key as Key));
  if (verdict.rateLimits !== undefined) {
    for (const status of verdict.rateLimits) writer.message(4, status, writeRateLimitStatus);
  }
  writer.message(5, verdict.retryAfter, writeTime);
  writer.message(6, verdict.freshness, writeFreshness);
  writer.bool(7, verdict.degraded);
  writer.message(8, verdict.secretExpireTime, writeTime);
}

function writeRateLimitStatus(to: MessageWriter, status: RateLimitStatus): void {
  to.string(1, status.name);
  to.message(2, status.window, writeTime);
  to.int32(3, status.limit);
  to.int32(4, status.remaining);
  to.message(5, status.resetAfter, writeTime);
}

function writeFreshness(to: MessageWriter, freshness: Freshness): void {
  to.int32(1, freshness.source);
  to.message(2, freshness.asOfTime, writeTime);
  to.message(3, freshness.maxStaleness, writeTime);
  to.int64(4, freshness.position);
}

function writeTime(to: MessageWriter, { seconds, nanos }: Time): void {
  to.int64(1, seconds);
  to.int32(2, nanos);
}

function bytesOf(key: Key): Uint8Array {
  let bytes = keyBytes.get(key);
  if (bytes === undefined) {
    bytes = toBinary(KeySchema, key);
    keyBytes.set(key, bytes);
  }
  return bytes;
}
