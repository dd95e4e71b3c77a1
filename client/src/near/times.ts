import type { Duration, Timestamp } from "@bufbuild/protobuf/wkt";

/** Two clocks that measure one time may differ by this share of it: 200 ppm, twice what clocks are specified for. */
export const DRIFT = 200e-6;

/** Whole milliseconds since the epoch, rounded down. */
export function timestampMs(time: Timestamp): number {
  return Number(time.seconds) * 1000 + Math.floor(time.nanos / 1e6);
}

/** Milliseconds with their fraction; negative ones too. */
export function durationMs(duration: Duration): number {
  return Number(duration.seconds) * 1000 + duration.nanos / 1e6;
}
