/** A limiter, one of four processes, over a store that a test can break, with a clock that the test moves. */
import type { LimitRequest } from "../../src/limits/limit.ts";
import { SharedLimiter } from "../../src/limits/limiter.ts";
import { recordingLog } from "../support/recording-log.ts";
import { StandingClock } from "../support/shifted-clock.ts";
import { FaultyLimitStore } from "./faulty-limit-store.ts";

export const limits = [{ name: "", perMinute: 10, perDay: undefined }];

export function request(changes: Partial<LimitRequest> = {}): LimitRequest {
  return { subject: "s", cost: 1, limits, ...changes };
}

export function newLimiter(processes = { replicas: 2, workers: 2 }) {
  const clock = new StandingClock();
  const store = new FaultyLimitStore(clock);
  const log = recordingLog();
  return { clock, store, log, limiter: new SharedLimiter({ store, clock, log, ...processes }) };
}
