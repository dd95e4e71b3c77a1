/** The keys of the measurements in memory, and the heap. */

/** Number of look-ups that are timed together. */
const PART = 500;
/** Bytes of a key that a measurement itself keeps: 74 characters, the string's head, and its place in the list. */
export const RAW_KEY_BYTES = 74 + 6 + 16 + 8;

/** The keys that a process is asked about, in random order. */
export class AskedKeys {
  readonly #rawKeys: readonly string[];
  /** The position in the random order. */
  #at = 1;

  constructor(rawKeys: readonly string[]) {
    this.#rawKeys = rawKeys;
  }

  /**
   * Microseconds for one look-up in the quickest of some rounds, because time that other processes take is no cost of
   * ours.
   *
   * @throws Error if a look-up finds nothing
   */
  quickestUs(rounds: number, hits: number, find: (rawKey: string) => boolean): number {
    let best = Number.POSITIVE_INFINITY;
    for (let round = 0; round < rounds; round++) best = Math.min(best, this.roundUs(hits, find));
    return best;
  }

  /** As `quickestUs`, for one round. */
  roundUs(hits: number, find: (rawKey: string) => boolean): number {
    let tookMs = 0;
    for (let part = 0; part < hits / PART; part++) {
      const asked = this.#next();
      const startMs = performance.now();
      for (const rawKey of asked) if (!find(rawKey)) throw new Error("a key that was kept is not there");
      tookMs += performance.now() - startMs;
    }
    return (tookMs * 1000) / hits;
  }

  /** Keys as they come from a socket: new strings whose bytes were just written. */
  #next(): readonly string[] {
    return Array.from({ length: PART }, () => {
      // A linear congruential generator: quick, and random enough.
      this.#at = (Math.imul(this.#at, 1_103_515_245) + 12_345) & 0x7fff_ffff;
      return Buffer.from(this.#rawKeys[this.#at % this.#rawKeys.length]!, "latin1").toString("latin1");
    });
  }
}

export function heapUsed(): number {
  globalThis.gc!();
  return process.memoryUsage().heapUsed;
}
