import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { type Duration, timestampMs } from "@bufbuild/protobuf/wkt";
import type { RefusedVerdict, WindowState } from "../../src/answers/decision.ts";
import type { Key } from "../../src/gen/latchkey/v1/key_pb.ts";
import {
  type CheckRateLimitResponse,
  type Freshness,
  Verdict as VerdictCode,
  type VerifyKeyResponse,
} from "../../src/gen/latchkey/v1/key_service_pb.ts";
import type { RateLimitStatus } from "../../src/gen/latchkey/v1/limits_pb.ts";
import { FixedDate } from "./fixed-date.ts";

/** A limit of the calling service that a call must meet. Services that use one name for one subject share a window. */
export interface NamedLimit {
  /** 1 to 64 characters of a-z, 0-9, ".", "_", "/" and "-". */
  readonly name: string;
  /** Calls in any 60 seconds; 0 allows none, absent means no such limit. */
  readonly perMinute?: number | undefined;
  /** Calls in any 24 hours; 0 allows none, absent means no such limit. */
  readonly perDay?: number | undefined;
}

/** A call that a key is judged for. */
export interface VerifyRequest {
  /** The key as the caller presented it, unchanged and without "Bearer ". */
  readonly apiKey: string;
  /** Scopes that the key must have: all of them. */
  readonly requiredScopes?: readonly string[] | undefined;
  /** Tiers of which the key must have one. Empty or absent: any. */
  readonly allowedTiers?: readonly string[] | undefined;
  /** The cost of the call; 1 if absent. 0 reads the limits without counting. */
  readonly cost?: number | undefined;
  /** The caller's address, for keys that are bound to networks. */
  readonly clientIp?: string | undefined;
  /** The method that the caller wants, for keys that are bound to methods. */
  readonly method?: string | undefined;
  /** Further limits that the call must meet, at most 8, counted for each key. */
  readonly limits?: readonly NamedLimit[] | undefined;
  /** If set, a key of another environment is INVALID. */
  readonly environment?: string | undefined;
}

/** Why a key was accepted or refused. UNKNOWN is a verdict that this version does not know: a refusal. */
export type VerdictName = "VALID" | RefusedVerdict;

/** The key behind a verdict; only if the whole secret was presented. Frozen, all of it. */
export interface VerifiedKey {
  readonly id: string;
  readonly ownerId: string;
  readonly name: string;
  readonly tier: string;
  readonly scopes: readonly string[];
  readonly environment: string;
  /** The owner's notes. Never authorize by them: the owner may write anything here. */
  readonly metadata: Readonly<Record<string, string>>;
  /** When the key stops working; undefined for a key that does not expire. */
  readonly expiresAt: Date | undefined;
}

/** The state of one window of a limit after the decision. */
export type RateLimitWindow = WindowState;

export interface Verdict {
  /** Whether to serve the call: decide by this. */
  readonly valid: boolean;
  readonly verdict: VerdictName;
  readonly key?: VerifiedKey;
  /** The key's own windows first, then the named ones; empty if no limit was judged. */
  readonly rateLimits: readonly RateLimitWindow[];
  /** With RATE_LIMITED: the shortest wait after which this call succeeds. Absent where no wait helps. */
  readonly retryAfterMs?: number;
  /**
   * The limits were judged by one process alone, because the shared counters are unreachable; or the record of the key
   * is older than 5 s, because the service or its database is: see `ageMs`.
   */
  readonly degraded: boolean;
  /** Where the key was judged: in this process, or by a call. */
  readonly source: "near" | "service";
  /** How old the facts about the key were at the verdict; 0 if the form of the key alone decided. */
  readonly ageMs: number;
  /**
   * The verdict knows of every change up to this position, of those that `on("change")` tells. Absent where it is not
   * known, and then `epoch` is, too.
   */
  readonly position?: bigint;
  /** The history of the database that `position` counts in. Positions of two epochs do not compare. */
  readonly epoch?: bigint;
}

/** The subject whose limits are checked: a key by its id, or any other subject by a name of your own. */
export type RateLimitRequest = ({ readonly keyId: string } | { readonly name: string }) & {
  /** 1 if absent. 0 reads the limits without counting. */
  readonly cost?: number | undefined;
  /** At most 8. At least one with `name`. */
  readonly limits?: readonly NamedLimit[] | undefined;
};

export interface RateLimitVerdict {
  readonly allowed: boolean;
  readonly rateLimits: readonly RateLimitWindow[];
  /** If not allowed: the shortest wait after which this call succeeds. Absent where no wait helps. */
  readonly retryAfterMs?: number;
  /** One process alone judged, because the shared counters are unreachable. */
  readonly degraded: boolean;
}

/** The service uses an older record only while its database is unreachable. */
const USUAL_AGE_MS = 5000;

const NAMES: Readonly<Record<number, VerdictName>> = Object.freeze({
  [VerdictCode.VALID]: "VALID",
  [VerdictCode.INVALID]: "INVALID",
  [VerdictCode.DISABLED]: "DISABLED",
  [VerdictCode.REVOKED]: "REVOKED",
  [VerdictCode.EXPIRED]: "EXPIRED",
  [VerdictCode.OWNER_DISABLED]: "OWNER_DISABLED",
  [VerdictCode.SCOPE_MISSING]: "SCOPE_MISSING",
  [VerdictCode.TIER_NOT_ALLOWED]: "TIER_NOT_ALLOWED",
  [VerdictCode.IP_NOT_ALLOWED]: "IP_NOT_ALLOWED",
  [VerdictCode.METHOD_NOT_ALLOWED]: "METHOD_NOT_ALLOWED",
  [VerdictCode.RATE_LIMITED]: "RATE_LIMITED",
  [VerdictCode.CREDITS_EXHAUSTED]: "CREDITS_EXHAUSTED",
});

/** Verdicts that say nothing against a kept record of the key: they follow from the use of the key. */
export const OF_THE_USE: ReadonlySet<VerdictName> = new Set<VerdictName>([
  "VALID",
  "RATE_LIMITED",
  "SCOPE_MISSING",
  "TIER_NOT_ALLOWED",
  "IP_NOT_ALLOWED",
  "METHOD_NOT_ALLOWED",
]);
/** Verdicts that this client can't judge by: their answers fill nothing. */
export const NOT_JUDGED: ReadonlySet<VerdictName> = new Set<VerdictName>(["UNKNOWN", "CREDITS_EXHAUSTED"]);

/** The name of an answer's verdict. It is VALID only if both fields of the answer say so. */
export function verdictNameOf(response: VerifyKeyResponse): VerdictName {
  const named = NAMES[response.verdict] ?? "UNKNOWN";
  return (named === "VALID") === response.valid ? named : "UNKNOWN";
}

/** The verdict of an answer. @param sinceSentMs how long ago the call was sent */
export function verdictOf(response: VerifyKeyResponse, sinceSentMs: number): Verdict {
  const verdict = verdictNameOf(response);
  const ageMs = ageOf(response.freshness, sinceSentMs);
  return Object.freeze({
    valid: verdict === "VALID",
    verdict,
    ...(response.key !== undefined && { key: keyOf(response.key) }),
    rateLimits: windowsOf(response.rateLimits),
    ...(response.retryAfter !== undefined && { retryAfterMs: msOf(response.retryAfter) }),
    degraded: response.degraded || ageMs > USUAL_AGE_MS,
    source: "service",
    ageMs,
    ...positionOf(response.freshness),
  });
}

export function rateLimitVerdictOf(response: CheckRateLimitResponse): RateLimitVerdict {
  return Object.freeze({
    allowed: response.allowed,
    rateLimits: windowsOf(response.rateLimits),
    ...(response.retryAfter !== undefined && { retryAfterMs: msOf(response.retryAfter) }),
    degraded: response.degraded,
  });
}

function positionOf(freshness: Freshness | undefined) {
  if (freshness === undefined || freshness.epoch === 0n) return {};
  return { position: freshness.position, epoch: freshness.epoch };
}

/** The age of an answer's record now. A service that tells no age names the maximum. */
function ageOf(freshness: Freshness | undefined, sinceSentMs: number): number {
  return freshness === undefined ? 0 : msOf(freshness.age ?? freshness.maxStaleness) + sinceSentMs;
}

/** The key as callers see it: with the scopes and the tier that it is judged by. Deeply frozen. */
export function keyOf(key: Key): VerifiedKey {
  // A service that is older names no effective ones.
  const isJudged = key.effectiveTier !== "";
  return Object.freeze({
    id: key.id,
    ownerId: key.ownerId,
    name: key.name,
    tier: isJudged ? key.effectiveTier : key.tier,
    scopes: Object.freeze([...(isJudged ? key.effectiveScopes : key.scopes)]),
    environment: key.environment,
    metadata: Object.freeze({ ...key.metadata }),
    expiresAt: dateOf(key.expireTime),
  });
}

function windowsOf(statuses: readonly RateLimitStatus[]): readonly RateLimitWindow[] {
  return Object.freeze(
    statuses.map(({ name, window, limit, remaining, resetAfter }) =>
      Object.freeze({ name, windowMs: msOf(window), limit, remaining, resetAfterMs: msOf(resetAfter) }),
    ),
  );
}

function dateOf(time: Timestamp | undefined): Date | undefined {
  return time && new FixedDate(timestampMs(time));
}

/** Milliseconds, rounded up, so that a wait is never too short. 0 if absent. */
export function msOf(duration: Duration | undefined): number {
  return duration === undefined ? 0 : Number(duration.seconds) * 1000 + Math.ceil(duration.nanos / 1e6);
}
