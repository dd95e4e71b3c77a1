import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type Key as KeyMessage, KeySchema, Key_State as KeyStateMessage } from "../../gen/latchkey/v1/key_pb.ts";
import {
  type CheckRateLimitRequest,
  type CheckRateLimitResponseSchema,
  Verdict as VerdictMessage,
  type VerifyKeyRequest,
} from "../../gen/latchkey/v1/key_service_pb.ts";
import type {
  Limits,
  NamedLimit as NamedLimitMessage,
  RateLimitStatusSchema,
} from "../../gen/latchkey/v1/limits_pb.ts";
import type { CheckRateLimitInput } from "../../keys/check-rate-limit.ts";
import type { VerifyKeyInput } from "../../keys/check-use.ts";
import { effectiveScopes, type Verdict } from "../../keys/judge-key.ts";
import { type Key, type KeyOwner, type KeyState, keyEtag, keyState } from "../../keys/key.ts";
import type { KeyRecord } from "../../keys/key-records.ts";
import type { Tiers } from "../../keys/tiers.ts";
import type { LimitDecision, LimitFigures, NamedLimit, WindowStatus } from "../../limits/limit.ts";
import { optionalDuration, optionalTimestamp, toDuration, toTimestamp } from "./times.ts";

const KEY_STATES: Readonly<Record<KeyState, KeyStateMessage>> = {
  active: KeyStateMessage.ACTIVE,
  disabled: KeyStateMessage.DISABLED,
  revoked: KeyStateMessage.REVOKED,
  expired: KeyStateMessage.EXPIRED,
};

/** The wire's value for each verdict. */
export const VERDICTS: Readonly<Record<Verdict, VerdictMessage>> = {
  valid: VerdictMessage.VALID,
  invalid: VerdictMessage.INVALID,
  disabled: VerdictMessage.DISABLED,
  revoked: VerdictMessage.REVOKED,
  expired: VerdictMessage.EXPIRED,
  owner_disabled: VerdictMessage.OWNER_DISABLED,
  scope_missing: VerdictMessage.SCOPE_MISSING,
  tier_not_allowed: VerdictMessage.TIER_NOT_ALLOWED,
  ip_not_allowed: VerdictMessage.IP_NOT_ALLOWED,
  method_not_allowed: VerdictMessage.METHOD_NOT_ALLOWED,
  rate_limited: VerdictMessage.RATE_LIMITED,
};

/** A key as a message, with what follows from its tier, its owner and their grants. */
export function keyMessage(
  { key, owner }: { readonly key: Key; readonly owner: KeyOwner | undefined },
  tiers: Tiers,
  nowMs: number,
): KeyMessage {
  return create(KeySchema, {
    id: key.id,
    name: key.name,
    description: key.description,
    prefix: key.prefix,
    ownerId: key.ownerId ?? "",
    tier: key.tier,
    scopes: [...key.scopes],
    ...(hasFigure(key.limits) && { limits: limitsMessage(key.limits) }),
    state: KEY_STATES[keyState(key, nowMs)],
    metadata: { ...key.metadata },
    allowedIps: [...key.allowedIps],
    allowedMethods: [...key.allowedMethods],
    createTime: toTimestamp(key.createdAtMs),
    expireTime: optionalTimestamp(key.expiresAtMs),
    lastUseTime: optionalTimestamp(key.lastUsedAtMs),
    revokeTime: optionalTimestamp(key.revokedAtMs),
    environment: key.environment,
    etag: keyEtag(key),
    issuerId: key.issuerId,
    disabledBy: key.disabledBy ?? "",
    effectiveLimits: limitsMessage(tiers.effectiveLimits(key, owner)),
    effectiveScopes: effectiveScopes(key, owner),
    effectiveTier: tiers.judged(key, owner).name,
  });
}

/** The limits of a request; undefined if the message is absent. */
export function limitFigures(limits: Limits | undefined): LimitFigures | undefined {
  return limits && { perMinute: limits.perMinute, perDay: limits.perDay };
}

export function namedLimits(limits: readonly NamedLimitMessage[]): NamedLimit[] {
  return limits.map(({ name, perMinute, perDay }) => ({ name, perMinute, perDay }));
}

export function verifyKeyInput(request: VerifyKeyRequest): VerifyKeyInput {
  return {
    rawKey: request.apiKey,
    requiredScopes: request.requiredScopes,
    allowedTiers: request.allowedTiers,
    cost: request.cost ?? 1,
    clientIp: request.clientIp,
    method: request.method,
    limits: namedLimits(request.limits),
    environment: request.environment,
  };
}

export function rateLimitInput({ subject, cost, limits, admitted }: CheckRateLimitRequest): CheckRateLimitInput {
  return { subject: subjectOf(subject), cost: cost ?? 1, limits: namedLimits(limits), admitted };
}

function subjectOf(subject: CheckRateLimitRequest["subject"]): CheckRateLimitInput["subject"] {
  switch (subject.case) {
    case "keyId":
      return { kind: "key", keyId: subject.value };
    case "name":
      return { kind: "name", name: subject.value };
    case undefined:
      return undefined;
    default:
      return subject satisfies never;
  }
}

export function checkRateLimitResponse(decision: LimitDecision): MessageInitShape<typeof CheckRateLimitResponseSchema> {
  return {
    allowed: decision.allowed,
    rateLimits: decision.windows.map(rateLimitStatus),
    retryAfter: optionalDuration(decision.retryAfterMs),
    degraded: decision.degraded,
  };
}

/** The key of a verdict. It has no last_use_time, because a copy in memory cannot know that time. */
export function verdictKey(record: KeyRecord, tiers: Tiers, nowMs: number): KeyMessage {
  const message = keyMessage(record, tiers, nowMs);
  message.lastUseTime = undefined;
  return message;
}

function rateLimitStatus(window: WindowStatus): MessageInitShape<typeof RateLimitStatusSchema> {
  return {
    name: window.name,
    window: toDuration(window.lengthMs),
    limit: window.limit,
    remaining: window.remaining,
    resetAfter: toDuration(window.resetAfterMs),
  };
}

function hasFigure(limits: LimitFigures): boolean {
  return limits.perMinute !== undefined || limits.perDay !== undefined;
}

function limitsMessage(limits: LimitFigures) {
  return {
    ...(limits.perMinute !== undefined && { perMinute: limits.perMinute }),
    ...(limits.perDay !== undefined && { perDay: limits.perDay }),
  };
}
