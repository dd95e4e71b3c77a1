/**
 * A sliding window of fixed buckets: it never admits more than its limit L in any interval of its length. Time is
 * divided into buckets of a 60th of the length. The window is the sum of the current bucket and the 60 before it,
 * without weights. It needs 61 buckets, because an interval of the window's length touches up to 61. With 60, up to 2L
 * could be admitted around a boundary.
 *
 * `redis/limit.lua` does the same arithmetic; the contract suite runs against both.
 */
const BUCKETS_BEFORE = 60;
/**
 * Maximum cost that a window holds. Sums up to it are exact in a double, and it is far above every figure. Only calls
 * that were admitted elsewhere can come near it.
 */
export const MAX_TOTAL = 2 ** 52;

interface Bucket {
  /** Bucket n lasts from n * width to (n + 1) * width. */
  readonly number: number;
  count: number;
}

/**
 * The counts of one window. Call `slide` first, once per decision; the other methods then refer to that time. The
 * amortised work of a call is constant, because each bucket is added once and removed once. Only `msUntilRoom` of a
 * full window looks through its buckets, at most 61.
 */
export class Window {
  readonly lengthMs: number;
  readonly #widthMs: number;
  /** Oldest first; the buckets before #first have left the window. */
  #buckets: Bucket[] = [];
  #first = 0;
  #total = 0;
  #nowMs = 0;

  /** @param lengthMs a multiple of 60 */
  constructor(lengthMs: number) {
    this.lengthMs = lengthMs;
    this.#widthMs = lengthMs / BUCKETS_BEFORE;
  }

  /** The cost that the window holds. */
  get total(): number {
    return this.#total;
  }

  /**
   * Moves the window to a time, in whole milliseconds. Counts of a later time move into the current bucket. So a clock
   * that steps back never admits more, and the window is exact again after its length.
   */
  slide(nowMs: number): void {
    this.#nowMs = nowMs;
    const current = Math.floor(nowMs / this.#widthMs);
    this.#gatherFrom(current);
    this.#dropBefore(current - BUCKETS_BEFORE);
  }

  /** Adds a cost to the current bucket, at most up to MAX_TOTAL. */
  count(wanted: number): void {
    const cost = Math.min(wanted, MAX_TOTAL - this.#total);
    if (cost === 0) return;
    const current = Math.floor(this.#nowMs / this.#widthMs);
    const last = this.#buckets.at(-1);
    if (last?.number === current) last.count += cost;
    else this.#buckets.push({ number: current, count: cost });
    this.#total += cost;
  }

  /** Time until the cost fits under the limit if nothing else is counted; 0 = now, undefined = never. */
  msUntilRoom(cost: number, limit: number): number | undefined {
    if (cost > limit) return undefined;
    let excess = this.#total + cost - limit;
    let waitMs = 0;
    for (let at = this.#first; excess > 0; at++) {
      const bucket = this.#buckets[at]!;
      excess -= bucket.count;
      waitMs = this.#msUntilGone(bucket);
    }
    return waitMs;
  }

  /** Time until the window is empty if nothing more is counted; 0 = it is empty now. */
  msUntilEmpty(): number {
    const last = this.#buckets.at(-1);
    return last === undefined ? 0 : this.#msUntilGone(last);
  }

  #msUntilGone(bucket: Bucket): number {
    return (bucket.number + BUCKETS_BEFORE + 1) * this.#widthMs - this.#nowMs;
  }

  #gatherFrom(current: number): void {
    if ((this.#buckets.at(-1)?.number ?? current) <= current) return;
    this.#compact();
    let later = 0;
    while (this.#buckets.length > 0 && this.#buckets.at(-1)!.number > current) later += this.#buckets.pop()!.count;
    this.#total -= later;
    this.count(later);
  }

  #dropBefore(oldest: number): void {
    while (this.#first < this.#buckets.length && this.#buckets[this.#first]!.number < oldest) {
      this.#total -= this.#buckets[this.#first]!.count;
      this.#first++;
    }
    if (this.#first === this.#buckets.length) this.#forget();
    else if (this.#first > BUCKETS_BEFORE) this.#compact();
  }

  #forget(): void {
    if (this.#first === 0) return;
    this.#buckets = [];
    this.#first = 0;
  }

  #compact(): void {
    this.#buckets = this.#buckets.slice(this.#first);
    this.#first = 0;
  }
}
