import type { AgeClock } from "../../../src/lib/clock.ts";
import { DRIFT } from "./times.ts";

/** Times of the database between which its time now is. */
export interface TimeInterval {
  readonly loMs: number;
  readonly hiMs: number;
}

/** The least or the greatest lead of the database's clock over `elapsedMs`, and when it was observed. */
interface Lead {
  readonly ms: number;
  readonly atMs: number;
}

/**
 * The database's time, as an interval. It rests on what answers and messages say, never on this host's clock: a host
 * with a wrong clock must expire no key. Both bounds grow apart by the drift of clocks until the next observation.
 * A suspension makes the time since an observation unknown, so it ends what is known.
 */
export class DatabaseTime {
  readonly #clock: AgeClock;
  #least: Lead | undefined;
  #greatest: Lead | undefined;
  #skippedMs = 0;

  constructor(clock: AgeClock) {
    this.#clock = clock;
  }

  /**
   * Takes what an answer or a message says of the database's time.
   *
   * @param serveMs the database's time when it was written, rounded down to whole milliseconds
   * @param sentAtMs `elapsedMs` of a moment before it was written
   * @param receivedAtMs `elapsedMs` now
   */
  observe(serveMs: number, sentAtMs: number, receivedAtMs: number): void {
    const known = this.#leadsAt(receivedAtMs);
    const least = serveMs - receivedAtMs;
    const greatest = serveMs + 1 - sentAtMs;
    this.#skippedMs = this.#clock.skippedMs;
    const isEmpty = known !== undefined && (least > known.greatest || greatest < known.least);
    // Empty: the database's clock was set. What was learned before is void.
    const isNew = known === undefined || isEmpty;
    if (isNew || least > known.least) this.#least = { ms: least, atMs: receivedAtMs };
    if (isNew || greatest < known.greatest) this.#greatest = { ms: greatest, atMs: receivedAtMs };
  }

  /** The database's time now; undefined if it is not known. @param elapsedMs now */
  at(elapsedMs: number): TimeInterval | undefined {
    const leads = this.#leadsAt(elapsedMs);
    return leads && { loMs: elapsedMs + leads.least, hiMs: elapsedMs + leads.greatest };
  }

  #leadsAt(elapsedMs: number): { readonly least: number; readonly greatest: number } | undefined {
    if (this.#least === undefined || this.#greatest === undefined) return undefined;
    if (this.#skippedMs !== this.#clock.skippedMs) return undefined;
    return {
      least: this.#least.ms - DRIFT * (elapsedMs - this.#least.atMs),
      greatest: this.#greatest.ms + DRIFT * (elapsedMs - this.#greatest.atMs),
    };
  }
}
