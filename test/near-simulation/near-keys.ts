import type { KeySecretDigest } from "../../src/keys/key.ts";
import { type NewSecret, newSecret } from "../../src/keys/key-secret.ts";
import { type Tier, Tiers } from "../../src/keys/tiers.ts";
import { verdictSettings } from "../../src/keys/verdict-settings.ts";
import { format, ring, SAMPLE_KEYS, type SampleKey } from "../simulation/sample-keys.ts";
import type { VerdictSettings } from "../simulation/simulated-service.ts";

/** A sample key with the secrets that rotations give it, in their order; the first is the one that it begins with. */
export interface NearKey extends SampleKey {
  readonly secrets: readonly NewSecret[];
}

const SECRETS_PER_KEY = 4;

export const NEAR_KEYS: readonly NearKey[] = SAMPLE_KEYS.map((sample) => {
  const later = Array.from({ length: SECRETS_PER_KEY - 1 }, () => newSecret(ring, format, "live", sample.keyId));
  return { ...sample, secrets: [sample, ...later] };
});

/** The settings that verdicts rest on. Processes of other settings have another epoch. */
export interface Settings extends VerdictSettings {
  /** The lowest tier first. */
  readonly order: readonly [Tier, ...Tier[]];
}

/** A restart with other settings changes both the order of the tiers and their figures. */
export const SETTINGS: readonly Settings[] = [
  settings([
    { name: "basic", perMinute: undefined, perDay: undefined },
    { name: "gold", perMinute: 600, perDay: undefined },
  ]),
  settings([
    { name: "gold", perMinute: undefined, perDay: undefined },
    { name: "basic", perMinute: 60, perDay: 1000 },
  ]),
];

export const TIER_NAMES = ["basic", "gold"] as const;
export const SCOPES = ["read", "write"] as const;
/** The globs of scopes that owners are granted. */
export const GRANTS: readonly (readonly string[])[] = [["*"], ["read"], ["write"], []];

function settings(order: readonly [Tier, ...Tier[]]): Settings {
  return { order, tiers: new Tiers(order), text: verdictSettings(order, format) };
}

/** A stored secret that ends at a time by the database's clock. */
export function endingAt({ secret }: NewSecret, expiresAtMs: number | undefined): KeySecretDigest {
  return { ...secret, expiresAtMs };
}
