import { checkUse, type VerifyKeyInput } from "../../src/keys/check-use.ts";
import { DomainError } from "../../src/lib/errors.ts";
import type { NamedLimit as CheckedLimit } from "../../src/limits/limit.ts";
import { LatchkeyRequestError } from "./errors.ts";
import type { VerifyKeyInit } from "./group-commit.ts";
import type { NamedLimit, RateLimitRequest, VerifyRequest } from "./verdict.ts";

/** No key is as long. The beginning of a longer text is enough for the service to refuse it. */
const LONGEST_TEXT = 1024;

const NONE: readonly never[] = Object.freeze([]);
const MAX_INT32 = 2 ** 31 - 1;

/**
 * The message of a request. A wrong request is refused here, so that it harms no other call of its batch.
 *
 * @throws LatchkeyRequestError
 */
export function verifyKeyInit(request: VerifyRequest): VerifyKeyInit {
  const { rawKey, requiredScopes, allowedTiers, clientIp, method, limits, environment } = checkedInput(request);
  return {
    apiKey: rawKey.slice(0, LONGEST_TEXT),
    requiredScopes: [...requiredScopes],
    allowedTiers: [...allowedTiers],
    clientIp,
    method,
    limits: [...limits],
    environment,
    ...(request.cost !== undefined && { cost: request.cost }),
  };
}

/**
 * A request as the service reads it, checked by the service's own rules. Copies nothing.
 *
 * @throws LatchkeyRequestError where the service would answer INVALID_ARGUMENT
 */
export function checkedInput(request: VerifyRequest): VerifyKeyInput {
  const input = typedInput(request);
  try {
    checkUse(input);
  } catch (error) {
    throw requestErrorOf(error);
  }
  return input;
}

function typedInput(request: VerifyRequest): VerifyKeyInput {
  return {
    rawKey: checked("api_key", request.apiKey, isText),
    requiredScopes: checked("required_scopes", request.requiredScopes ?? NONE, isTextList),
    allowedTiers: checked("allowed_tiers", request.allowedTiers ?? NONE, isTextList),
    cost: checked("cost", request.cost ?? 1, isInt32),
    clientIp: checked("client_ip", request.clientIp ?? "", isText),
    method: checked("method", request.method ?? "", isText),
    limits: namedLimits(request.limits),
    environment: checked("environment", request.environment ?? "", isText),
  };
}

function requestErrorOf(error: unknown): unknown {
  if (!(error instanceof DomainError)) return error;
  const { reason, message, violations } = error;
  return new LatchkeyRequestError(message, { reason, fields: violations.map(({ field }) => field), cause: error });
}

/** @throws LatchkeyRequestError */
export function checkRateLimitInit(request: RateLimitRequest) {
  const { keyId, name, cost, limits } = request as { keyId?: string; name?: string } & RateLimitRequest;
  if ((keyId === undefined) === (name === undefined)) throw wrong("subject", "must be either `keyId` or `name`");
  return {
    subject:
      keyId === undefined
        ? { case: "name" as const, value: checked("name", name as string, isText) }
        : { case: "keyId" as const, value: checked("key_id", keyId, isText) },
    limits: [...namedLimits(limits)],
    ...(cost !== undefined && { cost: checked("cost", cost, isInt32) }),
  };
}

function namedLimits(limits: readonly NamedLimit[] | undefined): readonly CheckedLimit[] {
  if (limits === undefined) return NONE;
  return checked("limits", limits, Array.isArray).map(({ name, perMinute, perDay }) => ({
    name: checked("limits.name", name, isText),
    perMinute: perMinute === undefined ? undefined : checked("limits.per_minute", perMinute, isInt32),
    perDay: perDay === undefined ? undefined : checked("limits.per_day", perDay, isInt32),
  }));
}

function checked<T>(field: string, value: T, isRight: (value: unknown) => boolean): T {
  if (isRight(value)) return value;
  throw wrong(field, "has the wrong type or is out of range");
}

function wrong(field: string, description: string): LatchkeyRequestError {
  return new LatchkeyRequestError(`${field}: ${description}`, { reason: "INVALID_FIELD", fields: [field] });
}

function isText(value: unknown): boolean {
  return typeof value === "string";
}

function isTextList(value: unknown): boolean {
  return Array.isArray(value) && value.every(isText);
}

function isInt32(value: unknown): boolean {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= MAX_INT32;
}
