import type { KeyFormat } from "./key-form.ts";
import type { Tier } from "./tiers.ts";

/**
 * The settings that verdicts rest on, as text: a change of them changes the verdict of an unchanged record. These are
 * the tiers in their order with their figures, the prefix of keys and the environments, whose order does not matter.
 * Other settings don't: master keys decide whether there is a verdict at all, and grants of new users are stored.
 */
export function verdictSettings(tiers: readonly Tier[], { prefix, environments }: KeyFormat): string {
  const figures = tiers.map(({ name, perMinute, perDay }) => [name, perMinute ?? null, perDay ?? null]);
  return JSON.stringify([figures, prefix, [...environments].sort()]);
}
