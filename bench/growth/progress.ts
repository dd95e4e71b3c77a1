/** The progress of long work: share, rate and remaining time, at most one line in EVERY_MS. */
export interface Progress {
  /** Notes that a number of rows more are done. */
  add(done: number): void;
  /** Prints the last line, with the rate of the whole work. @returns the seconds that it took */
  end(): number;
}

const EVERY_MS = 5000;

/** @param print receives each line */
export function startProgress(print: (line: string) => void, what: string, total: number): Progress {
  const startMs = performance.now();
  let [done, printedMs] = [0, startMs];
  const seconds = () => (performance.now() - startMs) / 1000;
  const rate = () => done / Math.max(seconds(), 0.001);
  return {
    add(more) {
      done += more;
      if (performance.now() - printedMs < EVERY_MS) return;
      printedMs = performance.now();
      const left = Math.round((total - done) / rate());
      const share = Math.floor((100 * done) / total);
      print(`${what}: ${share} %, ${inThousands(rate())} rows/s, ${left} s left`);
    },
    end() {
      print(`${what}: ${inThousands(done)} rows in ${seconds().toFixed(1)} s, ${inThousands(rate())} rows/s`);
      return seconds();
    },
  };
}

/** A number with separators of thousands, without a fraction. */
export function inThousands(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}
