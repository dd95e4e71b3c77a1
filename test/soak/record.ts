/** The file of a soak: one JSON object a line, in the order of writing. Times are seconds since its first call. */
import { createWriteStream, type WriteStream } from "node:fs";
import { finished } from "node:stream/promises";
import type { FaultRecord, History } from "../nemesis/history.ts";
import type { Samples } from "./exposition.ts";

export type RecordLine =
  | { readonly type: "soak"; readonly seed: number; readonly seconds: number }
  /** A scrape of `/metrics`: only the series that have changed since the last one of this life. */
  | {
      readonly type: "scrape";
      readonly second: number;
      readonly process: string;
      /** Number of starts of this process. Counters begin at 0 in each life. */
      readonly life: number;
      readonly changed: Samples;
    }
  | {
      readonly type: "memory";
      readonly second: number;
      readonly process: string;
      readonly life: number;
      readonly rssBytes: number;
      readonly heapBytes: number;
    }
  | {
      readonly type: "fault";
      readonly kind: string;
      readonly target: string;
      readonly fromSecond: number;
      readonly toSecond: number;
    };

export class RecordFile {
  readonly #stream: WriteStream | undefined;
  readonly #latest = new Map<string, { readonly life: number; readonly samples: Map<string, number> }>();

  /** @param path undefined: nothing is written */
  constructor(path: string | undefined, soak: { readonly seed: number; readonly seconds: number }) {
    this.#stream = path === undefined ? undefined : createWriteStream(path);
    this.write({ type: "soak", ...soak });
  }

  write(line: RecordLine): void {
    this.#stream?.write(`${JSON.stringify(line)}\n`);
  }

  scrape(second: number, process: string, life: number, samples: Samples): void {
    let latest = this.#latest.get(process);
    if (latest?.life !== life) {
      latest = { life, samples: new Map() };
      this.#latest.set(process, latest);
    }
    const changed = Object.entries(samples).filter(([series, value]) => latest.samples.get(series) !== value);
    for (const [series, value] of changed) latest.samples.set(series, value);
    this.write({ type: "scrape", second, process, life, changed: Object.fromEntries(changed) });
  }

  faults({ faults, startedMs }: Pick<History, "faults" | "startedMs">): void {
    const secondOf = (ms: number) => Math.round((ms - startedMs) / 10) / 100;
    for (const { kind, target, startedMs: fromMs, endedMs } of faults as readonly FaultRecord[]) {
      this.write({ type: "fault", kind, target, fromSecond: secondOf(fromMs), toSecond: secondOf(endedMs) });
    }
  }

  /** Resolves when everything is written. */
  async close(): Promise<void> {
    if (this.#stream === undefined) return;
    this.#stream.end();
    await finished(this.#stream);
  }
}
