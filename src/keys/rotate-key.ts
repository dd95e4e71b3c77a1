import { DAY_MS } from "../lib/clock.ts";
import { DomainError, invalidField } from "../lib/errors.ts";
import type { KeyRing } from "../lib/key-ring.ts";
import { entryOf, findKey, type OneKeyInput, type OwnedKey, retryConflicts } from "./change-key.ts";
import { keyEnded } from "./grants.ts";
import { idempotencyKey, requestUsedError } from "./idempotency.ts";
import { MAX_ENDED_SECRETS, MAX_LIVE_SECRETS } from "./key.ts";
import { checkRequestId } from "./key-fields.ts";
import type { KeyFormat } from "./key-form.ts";
import { newSecret } from "./key-secret.ts";
import type { KeyStore } from "./key-store.ts";

export interface RotateKeyDeps {
  readonly store: Pick<KeyStore, "find" | "addSecret">;
  readonly ring: KeyRing;
  readonly format: KeyFormat;
}

export interface RotateKeyInput extends OneKeyInput {
  /** How long the previous secret stays valid; undefined = 24 h. */
  readonly overlapMs: number | undefined;
  readonly requestId: string;
}

export interface RotatedKey extends OwnedKey {
  /** Show it once, and never store it. */
  readonly rawKey: string;
}

const DEFAULT_OVERLAP_MS = DAY_MS;
const MAX_OVERLAP_MS = 7 * DAY_MS;

/**
 * Gives an API key one more secret; its id, history and limits stay.
 *
 * @throws KEY_NOT_FOUND, KEY_ENDED, INVALID_FIELD, SECRET_QUOTA_EXCEEDED, REQUEST_ID_USED, REQUEST_ID_REUSED,
 *   DATABASE_UNAVAILABLE
 */
export function rotateKey(deps: RotateKeyDeps, input: RotateKeyInput): Promise<RotatedKey> {
  return rotate(deps, input, "key.rotated", () => findKey(deps, input));
}

/** The rotation of API keys and of service credentials. `find` reads the key to rotate, or throws. */
export async function rotate(
  deps: Omit<RotateKeyDeps, "store"> & { readonly store: Pick<KeyStore, "addSecret"> },
  input: RotateKeyInput,
  kind: "key.rotated" | "credential.rotated",
  find: () => Promise<OwnedKey>,
): Promise<RotatedKey> {
  checkRequestId(input.requestId);
  const overlapMs = checkOverlap(input.overlapMs);
  const request = idempotencyKey(input.by.id, input.requestId, { rotate: input.keyId, overlapMs });
  return retryConflicts(async () => {
    const { key, owner } = await find();
    const made = newSecret(deps.ring, deps.format, key.environment, key.id);
    const outcome = await deps.store.addSecret(
      {
        keyId: key.id,
        expectedVersion: key.version,
        secret: made.secret,
        overlapMs,
        maxLiveSecrets: MAX_LIVE_SECRETS,
        maxEndedSecrets: MAX_ENDED_SECRETS,
        request,
      },
      entryOf(input.by, kind, { overlap_ms: String(overlapMs) }),
    );
    switch (outcome.kind) {
      case "changed":
        return { key: outcome.key, owner, rawKey: made.rawKey };
      case "conflict":
        return "again";
      case "ended":
        throw keyEnded();
      case "too_many_secrets":
        throw new DomainError(
          "SECRET_QUOTA_EXCEEDED",
          `${MAX_LIVE_SECRETS} secrets are valid already; wait until an overlap ends, or rotate with overlap 0`,
        );
      case "request_used":
        throw requestUsedError(outcome, kind === "key.rotated" ? "key_id" : "credential_id");
      default:
        return outcome satisfies never;
    }
  });
}

function checkOverlap(overlapMs: number | undefined): number {
  const value = overlapMs ?? DEFAULT_OVERLAP_MS;
  if (!(value >= 0 && value <= MAX_OVERLAP_MS)) throw invalidField("overlap", "must be from 0 to 7 days");
  return value;
}
