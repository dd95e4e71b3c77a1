import type { Duration, Timestamp } from "@bufbuild/protobuf/wkt";
import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { invalidField } from "../../lib/errors.ts";

/** 0001-01-01 and 9999-12-31, the range of google.protobuf.Timestamp. */
const FIRST_SECOND = -62_135_596_800n;
const LAST_SECOND = 253_402_300_799n;
/** About 10,000 years, the range of google.protobuf.Duration. */
const LONGEST_SECONDS = 315_576_000_000n;

/** Milliseconds since the epoch, rounded down. @throws INVALID_FIELD outside the range of the type */
export function timestampToMs(field: string, timestamp: Timestamp): number {
  const { seconds, nanos } = timestamp;
  if (seconds < FIRST_SECOND || seconds > LAST_SECOND || nanos < 0 || nanos > 999_999_999) {
    throw invalidField(field, "must be a valid google.protobuf.Timestamp");
  }
  return Number(seconds) * 1000 + Math.floor(nanos / 1e6);
}

/** A duration in milliseconds. @throws INVALID_FIELD outside the range of the type */
export function durationToMs(field: string, duration: Duration): number {
  const { seconds, nanos } = duration;
  const isInRange = seconds >= -LONGEST_SECONDS && seconds <= LONGEST_SECONDS && Math.abs(nanos) <= 999_999_999;
  if (!isInRange || (seconds > 0n && nanos < 0) || (seconds < 0n && nanos > 0)) {
    throw invalidField(field, "must be a valid google.protobuf.Duration");
  }
  return Number(seconds) * 1000 + nanos / 1e6;
}

/** A time in whole milliseconds. Rounded down, so that no answer claims to be newer than it is. */
export function toTimestamp(ms: number): Timestamp {
  return timestampFromMs(Math.floor(ms));
}

export function optionalTimestamp(ms: number | undefined): Timestamp | undefined {
  return ms === undefined ? undefined : toTimestamp(ms);
}

/** A span in whole milliseconds. Rounded up, so that a client that waits for it has waited long enough. */
export function toDuration(ms: number): Duration {
  return durationFromMs(Math.ceil(ms));
}

export function optionalDuration(ms: number | undefined): Duration | undefined {
  return ms === undefined ? undefined : toDuration(ms);
}

/** A span in whole milliseconds that may be negative. Rounded down, so that it never claims more than has passed. */
export function toSignedDuration(ms: number): Duration {
  return durationFromMs(Math.floor(ms));
}
