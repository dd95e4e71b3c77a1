import type { VerdictName, VerifyRequest } from "../../client/src/verdict.ts";
import type { Tier } from "../../src/keys/tiers.ts";
import type { LimitFigures } from "../../src/limits/limit.ts";
import { format } from "../simulation/sample-keys.ts";
import type { Row } from "../simulation/truth.ts";
import type { NearKey, Settings } from "./near-keys.ts";

/** Everything that a verdict rests on, at one moment. */
export interface Moment {
  readonly key: Row | undefined;
  readonly owner: Row | undefined;
  readonly settings: Settings;
  /** By the database's clock. */
  readonly databaseMs: number;
}

/** A request about a key of the simulation. */
export interface NearRequest {
  readonly sample: NearKey;
  readonly secret: number;
  readonly request: VerifyRequest;
}

/** The verdict that the contract wants at a moment. Written apart from the shipped judgement, and simpler. */
export function expectedVerdict({ key, owner, settings, databaseMs }: Moment, asked: NearRequest): VerdictName {
  const { request } = asked;
  const environment = request.environment ?? "";
  if (environment !== "" && environment !== format.environments[0]) return "INVALID";
  if (key === undefined || owner === undefined) return "INVALID";
  const stored = storedSecret(key, asked);
  if (stored === undefined) return "INVALID";
  if (key.state === "revoked") return "REVOKED";
  if (key.state === "disabled") return "DISABLED";
  if (owner.state !== "active") return "OWNER_DISABLED";
  const ends = [key.key?.expiresAtMs, stored.expiresAtMs];
  if (ends.some((endMs) => endMs !== undefined && endMs <= databaseMs)) return "EXPIRED";
  const allowedTiers = request.allowedTiers ?? [];
  if (allowedTiers.length > 0 && !allowedTiers.includes(judgedTier(key, owner, settings).name))
    return "TIER_NOT_ALLOWED";
  const granted = owner.owner?.scopes ?? [];
  const hasScope = (scope: string) =>
    (key.key?.scopes ?? []).includes(scope) && (granted.includes("*") || granted.includes(scope));
  return (request.requiredScopes ?? []).every(hasScope) ? "VALID" : "SCOPE_MISSING";
}

/** The figures of the key's own limit at a moment. */
export function expectedFigures({ key, owner, settings }: Moment): LimitFigures {
  const { perMinute, perDay } = key?.key?.limits ?? {};
  const tier = judgedTier(key!, owner!, settings);
  return { perMinute: perMinute ?? tier.perMinute, perDay: perDay ?? tier.perDay };
}

/** The ends of a key and its secrets, by the database's clock. */
export function endsOf(key: Row | undefined): readonly number[] {
  const ends = [key?.key?.expiresAtMs, ...(key?.secrets ?? []).map(({ expiresAtMs }) => expiresAtMs)];
  return ends.filter((end) => end !== undefined);
}

function storedSecret(key: Row, { sample, secret }: NearRequest) {
  const { digest } = sample.secrets[secret]!.secret;
  return (key.secrets ?? [sample.secret]).find((stored) => stored.digest === digest);
}

function judgedTier(key: Row, owner: Row, { order }: Settings): Tier {
  const rank = (name: string | undefined) => order.findIndex((tier) => tier.name === (name ?? "basic"));
  return order[Math.min(rank(key.key?.tier), rank(owner.owner?.tier))]!;
}
