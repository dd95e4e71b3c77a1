import type { Key, KeyOwner, KeySecretDigest } from "../../src/keys/key.ts";
import { type NewSecret, newSecret } from "../../src/keys/key-secret.ts";
import type { KeyWithSecrets } from "../../src/keys/key-store.ts";
import { Tiers } from "../../src/keys/tiers.ts";
import { KeyRing } from "../../src/lib/key-ring.ts";
import type { Row } from "./truth.ts";

/**
 * The ring, form and tiers of all simulated keys. Their secrets differ from run to run, but nothing depends on them.
 */
export const ring = new KeyRing([{ version: 1, bytes: Buffer.alloc(32, 7) }]);
export const format = { prefix: "kit", environments: ["live"] };
export const tiers = new Tiers([{ name: "basic", perMinute: undefined, perDay: undefined }]);

export interface SampleKey extends NewSecret {
  readonly ownerId: string;
}

/** The keys of a simulation; each owner has more than one. */
export const SAMPLE_KEYS: readonly SampleKey[] = Array.from({ length: 6 }, (_, at) => ({
  ...newSecret(ring, format, "live"),
  ownerId: `usr_${at >> 1}`,
}));

/** The name of a key or an owner, which is the same in each run. */
export function nameOf(subjectId: string): string {
  const at = SAMPLE_KEYS.findIndex(({ keyId }) => keyId === subjectId);
  return at < 0 ? subjectId : `key ${at}`;
}

/**
 * A row as the shipped store returns it. `key.version` is the version of the key's row, and the owner's only scope is
 * that of the owner's row.
 */
export function keyWithSecrets(sample: SampleKey, key: Row, owner: Row): KeyWithSecrets {
  const secrets: readonly KeySecretDigest[] = key.secrets ?? [sample.secret];
  return { key: keyOf(sample, key), owner: ownerOf(sample.ownerId, owner), secrets };
}

/** The version of the owner from which a record was made. */
export function ownerVersion(owner: KeyOwner): number {
  return Number(owner.scopes[0]);
}

function ownerOf(id: string, { state, version, owner }: Row): KeyOwner {
  const stored = state === "active" ? state : "disabled";
  return { id, state: stored, tier: "basic", scopes: [String(version)], ...owner };
}

function keyOf({ keyId, displayPrefix, ownerId }: SampleKey, { state, version, key }: Row): Key {
  return {
    id: keyId,
    kind: "api",
    environment: "live",
    name: "simulated",
    description: "",
    prefix: displayPrefix,
    ownerId,
    issuerId: ownerId,
    tier: "basic",
    scopes: [],
    metadata: {},
    allowedIps: [],
    allowedMethods: [],
    certificateNames: [],
    limits: { perMinute: undefined, perDay: undefined },
    state,
    disabledBy: undefined,
    serviceControlled: false,
    createdAtMs: 0,
    expiresAtMs: undefined,
    revokedAtMs: undefined,
    lastUsedAtMs: undefined,
    version,
    ...key,
  };
}
