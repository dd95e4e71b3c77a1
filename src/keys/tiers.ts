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
  /** The figures of each tier as one object, which all keys with these figures share. */
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

  /** Whether an owner whose grant is the tier `grant` may have keys of the tier `tier`. */
  isWithin(tier: string, grant: string): boolean {
    return this.#rank(tier) <= Math.max(0, this.#rank(grant));
  }

  /**
   * The tier by which a key is judged: the lower of its own and its owner's. A tier that is no longer configured counts
   * as the lowest.
   */
  judged(key: Key, owner: KeyOwner | undefined): Tier {
    const own = this.#rank(key.tier);
    const granted = owner === undefined ? own : this.#rank(owner.tier);
    return this.#tiers[Math.max(0, Math.min(own, granted))] ?? this.lowest;
  }

  /**
   * The figures that apply: those that an operator set on the key, otherwise those of the tier by which it is judged.
   */
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
