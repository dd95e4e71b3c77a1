import { VERDICT_NAMES, type Verdict } from "./judge-key.ts";

/** Counts verdicts. */
export interface VerdictObserver {
  /**
   * Called once for each verdict that a service gets.
   *
   * @param service the id of its credential; undefined without one
   */
  verdictGiven(verdict: Verdict, service: string | undefined): void;
}

/** The count of one service. */
interface ServiceCounts {
  readonly service: string;
  readonly counts: Record<Verdict, number>;
}

const NONE = "none";
const OTHER = "other";

/** Counts of verdicts by kind and service, in plain numbers. */
export class VerdictCounts implements VerdictObserver {
  readonly #maxServices: number;
  readonly #byService = new Map<string, ServiceCounts>();
  #services = 0;
  #latest: ServiceCounts = { service: "", counts: noVerdicts() };

  /** @param maxServices number of services with counts of their own; all others have one count together */
  constructor(maxServices: number) {
    this.#maxServices = maxServices;
  }

  verdictGiven(verdict: Verdict, service = NONE): void {
    // Most verdicts are for the service that got the one before.
    if (this.#latest.service !== service) this.#latest = this.#of(service);
    this.#latest.counts[verdict]++;
  }

  /** The counts of each service since the start. */
  *[Symbol.iterator]() {
    for (const { service, counts } of this.#byService.values()) {
      for (const [verdict, count] of Object.entries(counts)) {
        if (count > 0) yield [{ verdict: verdict as Verdict, service }, count] as const;
      }
    }
  }

  #of(service: string): ServiceCounts {
    const known = this.#byService.get(service);
    if (known !== undefined) return known;
    const hasOwn = service === NONE || service === OTHER || this.#services < this.#maxServices;
    if (!hasOwn) return this.#of(OTHER);
    if (service !== NONE && service !== OTHER) this.#services++;
    const made = { service, counts: noVerdicts() };
    this.#byService.set(service, made);
    return made;
  }
}

function noVerdicts(): Record<Verdict, number> {
  return Object.fromEntries(Object.keys(VERDICT_NAMES).map((verdict) => [verdict, 0])) as Record<Verdict, number>;
}
