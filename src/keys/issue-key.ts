import type { KnownActor } from "../audit/actor.ts";
import type { DatabaseClock } from "../changes/database-clock.ts";
import { DomainError, invalidField } from "../lib/errors.ts";
import { isId } from "../lib/id.ts";
import type { KeyRing } from "../lib/key-ring.ts";
import type { LimitFigures } from "../limits/limit.ts";
import { authorityDetails } from "./authority.ts";
import { entryOf } from "./change-key.ts";
import { checkScopes, checkTier } from "./grants.ts";
import { idempotencyKey, requestUsedError } from "./idempotency.ts";
import type { Key, KeyOwner } from "./key.ts";
import { checkKeyFields, checkKeyWeight, checkRequestId } from "./key-fields.ts";
import type { KeyFormat } from "./key-form.ts";
import { newSecret } from "./key-secret.ts";
import type { IdempotencyKey, IssuingOwner, KeyStore } from "./key-store.ts";
import type { Tiers } from "./tiers.ts";

export interface IssueKeyDeps {
  readonly store: Pick<KeyStore, "insert" | "findOwner">;
  readonly ring: KeyRing;
  readonly format: KeyFormat;
  readonly tiers: Tiers;
  readonly databaseClock: DatabaseClock;
  readonly keysPerOwner: number;
}

export interface IssueKeyInput {
  readonly by: KnownActor;
  readonly name: string;
  readonly description: string;
  /** Empty for the lowest tier. */
  readonly tier: string;
  readonly scopes: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
  /** Empty for the first configured environment. */
  readonly environment: string;
  /** Empty for the user who makes the call. A service must set it. */
  readonly ownerId: string;
  readonly limits: LimitFigures | undefined;
  readonly allowedIps: readonly string[];
  readonly allowedMethods: readonly string[];
  readonly expiresAtMs: number | undefined;
  readonly requestId: string;
}

export interface IssuedKey {
  readonly key: Key;
  readonly owner: KeyOwner;
  /** Show it once, and never store it. */
  readonly rawKey: string;
}

/**
 * Issues a key for a user, by that user or by a service that manages keys.
 *
 * @throws INVALID_FIELD, OWNER_NOT_ALLOWED, USER_NOT_FOUND, USER_DISABLED, TIER_NOT_GRANTED, SCOPE_NOT_GRANTED,
 *         FIELD_NOT_ALLOWED, KEY_QUOTA_EXCEEDED, REQUEST_ID_USED, REQUEST_ID_REUSED, DATABASE_UNAVAILABLE
 */
export async function issueKey(deps: IssueKeyDeps, input: IssueKeyInput): Promise<IssuedKey> {
  const { limits, ...fields } = input;
  checkKeyFields(limits === undefined ? fields : { ...fields, limits }, deps.databaseClock.nowMs());
  checkKeyWeight(input);
  checkRequestId(input.requestId);
  const environment = checkEnvironment(deps.format, input.environment);
  const ownerId = ownerIdOf(input);
  const { by, requestId, ownerId: _, ...parameters } = input;
  const request = idempotencyKey(by.id, requestId, { issue: parameters, ownerId });
  const { owner, keys, isRequestUsed } = await findOwner(deps, ownerId, request);
  const tier = input.tier === "" ? deps.tiers.lowest.name : input.tier;
  checkTier(deps.tiers, tier, owner);
  checkScopes(input.scopes, owner);
  // A retry must get the answer about its first key, even if its owner has reached the quota.
  if (keys >= deps.keysPerOwner && !isRequestUsed) throw quotaExceeded(deps);

  const made = newSecret(deps.ring, deps.format, environment);
  const newKey = {
    key: {
      id: made.keyId,
      kind: "api" as const,
      environment,
      prefix: made.displayPrefix,
      name: input.name,
      description: input.description,
      ownerId: owner.id,
      issuerId: by.id,
      tier,
      scopes: input.scopes,
      metadata: input.metadata,
      allowedIps: input.allowedIps,
      allowedMethods: input.allowedMethods,
      certificateNames: [],
      limits: input.limits ?? { perMinute: undefined, perDay: undefined },
      serviceControlled: by.kind === "service",
      expiresAtMs: input.expiresAtMs,
    },
    secret: made.secret,
    request,
    ownerQuota: deps.keysPerOwner,
  };
  const details = { owner_id: owner.id, ...authorityDetails(newKey.key) };
  const outcome = await deps.store.insert(newKey, entryOf(by, "key.issued", details));
  switch (outcome.kind) {
    case "inserted":
      return { key: outcome.key, owner, rawKey: made.rawKey };
    case "owner_missing":
      throw ownerNotFound();
    case "owner_disabled":
      throw ownerDisabled();
    case "quota_exceeded":
      throw quotaExceeded(deps);
    case "request_used":
      throw requestUsedError(outcome, "key_id");
    case "name_taken":
      throw new Error("an API key has no certificate names, but another one has them");
    default:
      return outcome satisfies never;
  }
}

function checkEnvironment(format: KeyFormat, environment: string): string {
  const chosen = environment === "" ? format.environments[0]! : environment;
  if (!format.environments.includes(chosen)) {
    throw invalidField("environment", `must be one of ${format.environments.join(", ")}`);
  }
  return chosen;
}

/**
 * The id of the new key's owner. A service must name a user. A user may name only themselves, so that they do not learn
 * which other users exist.
 */
function ownerIdOf({ by, ownerId, limits }: IssueKeyInput): string {
  if (by.kind === "user") {
    if (ownerId !== "" && ownerId !== by.id) {
      throw new DomainError("OWNER_NOT_ALLOWED", "users may issue keys only for themselves");
    }
    if (limits !== undefined) {
      throw new DomainError("FIELD_NOT_ALLOWED", "only services with the scope manage can set limits");
    }
  } else if (ownerId === "") {
    throw invalidField("owner_id", "must be set by services");
  }
  return ownerId === "" ? by.id : ownerId;
}

async function findOwner(
  deps: IssueKeyDeps,
  ownerId: string,
  request: IdempotencyKey | undefined,
): Promise<IssuingOwner> {
  const found = isId("usr", ownerId) ? await deps.store.findOwner(ownerId, request) : undefined;
  if (found === undefined) throw ownerNotFound();
  if (found.owner.state === "disabled") throw ownerDisabled();
  return found;
}

function quotaExceeded({ keysPerOwner }: IssueKeyDeps): DomainError {
  return new DomainError("KEY_QUOTA_EXCEEDED", `an owner may have ${keysPerOwner} keys, ended ones counted for 24 h`);
}

function ownerNotFound(): DomainError {
  return new DomainError("USER_NOT_FOUND", "no such user");
}

function ownerDisabled(): DomainError {
  return new DomainError("USER_DISABLED", "the owner is disabled");
}
