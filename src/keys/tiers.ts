import type { LimitFigures } from "../limits/limit.ts";
import type { Key, KeyOwner } from "./key.ts";

/** One tier and the limits of its keys. */
export interface Tier extends LimitFigures {
  readonly name: string;
}

/** The configured tiers, lowest first. */
export class Tiers {
  readonly lowest: Tier;
  readonly #tiers: readonly Tier[];
  /** One object for all keys that have the tier's figures. */
  readonly #figures: ReadonlyMap<Tier, LimitFigures>;

  constructor(tiers: readonly [Tier, ...Tier[]]) {
    this.lowest = tiers[0];
    this.#tiers = tiers;
    this.#figures = new Map(
      tiers.map((tier) => [tier, Object.freeze({ perMinute: tier.perMinute, perDay: tier.perDay })]),
    );
  }

  has(name: string): boolean {
    return this.#rank(name) >= 0;
  }

  get names(): readonly string[] {
    return this.#tiers.map((tier) => tier.name);
  }

  /** Whether someone who was granted `grant` may have `tier`. */
  isWithin(tier: string, grant: string): boolean {
    return this.#rank(tier) <= Math.max(0, this.#rank(grant));
  }

  /** The tier at which a key is judged: the lower of its own and its owner's. A tier that is gone counts as lowest. */
  judged(key: Key, owner: KeyOwner | undefined): Tier {
    const own = this.#rank(key.tier);
    const granted = owner === undefined ? own : this.#rank(owner.tier);
    return this.#tiers[Math.max(0, Math.min(own, granted))] ?? this.lowest;
  }

  /** The figures that apply: what an operator set on the key, else the judged tier's. */
  effectiveLimits(key: Key, owner: KeyOwner | undefined): LimitFigures {
    const tier = this.judged(key, owner);
    const { perMinute, perDay } = key.limits;
    if (perMinute === undefined && perDay === undefined) return this.#figures.get(tier)!;
    return { perMinute: perMinute ?? tier.perMinute, perDay: perDay ?? tier.perDay };
  }

  #rank(name: string): number {
    return this.#tiers.findIndex((tier) => tier.name === name);
  }
}
