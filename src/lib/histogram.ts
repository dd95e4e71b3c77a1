/**
 * A histogram in plain arrays. prom-client's own takes as long for one value as the verdict on a key, so the code that
 * measures uses this one, and a scrape reads it.
 */
export class Histogram {
  /** Upper bounds of the buckets, inclusive and ascending. */
  readonly bounds: readonly number[];
  /** Number of values by the first bucket whose bound they do not exceed. The last entry counts larger values. */
  readonly counts: number[];
  /** Sum of all values. */
  sum = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.counts = new Array<number>(bounds.length + 1).fill(0);
  }

  /** Counts one value. */
  observe(value: number): void {
    const { bounds, counts } = this;
    let at = 0;
    while (at < bounds.length && value > bounds[at]!) at++;
    counts[at]!++;
    this.sum += value;
  }

  /** Counts a time, for a histogram of seconds. */
  observeMs(ms: number): void {
    this.observe(ms / 1000);
  }
}

/** Histograms with the same bounds, by key. The caller bounds the number of keys. */
export class Histograms<K> {
  readonly #bounds: readonly number[];
  readonly #byKey = new Map<K, Histogram>();

  /** @param keys have a histogram from the start, so that Prometheus sees their first value as a change from 0 */
  constructor(bounds: readonly number[], keys: readonly K[] = []) {
    this.#bounds = bounds;
    for (const key of keys) this.of(key);
  }

  /** The histogram of a key. */
  of(key: K): Histogram {
    let histogram = this.#byKey.get(key);
    if (histogram === undefined) {
      histogram = new Histogram(this.#bounds);
      this.#byKey.set(key, histogram);
    }
    return histogram;
  }

  [Symbol.iterator](): IterableIterator<[K, Histogram]> {
    return this.#byKey.entries();
  }
}

/** Bounds in seconds for answers and waits: from half a millisecond to the longest deadline that is common. */
export const SECONDS: readonly number[] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];
/** Bounds for the number of requests in a batch: up to 256, the most of a batch RPC. */
export const SIZES: readonly number[] = [1, 2, 4, 8, 16, 32, 64, 128, 256];
