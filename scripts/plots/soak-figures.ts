/** The file that `npm run soak -- --scrape-to` writes, as figures over time. */
import { seriesOf } from "../../test/soak/exposition.ts";
import type { RecordLine } from "../../test/soak/record.ts";
import type { Line, Point, Span } from "./chart.ts";

type FaultLine = Extract<RecordLine, { type: "fault" }>;
type MemoryLine = Extract<RecordLine, { type: "memory" }>;

/** All series of one process at one time. */
interface Scrape {
  readonly second: number;
  readonly process: string;
  readonly life: number;
  readonly samples: ReadonlyMap<string, number>;
}

/** Rates and quantiles are of this many seconds. */
const WINDOW_SECONDS = 5;
/** A process without a sample for longer has a gap. */
const GAP_SECONDS = 3.5;
/** Fewer calls in a window have no quantile. */
const FEWEST_CALLS = 5;

export class SoakFigures {
  readonly seed: number;
  readonly seconds: number;
  readonly faults: readonly FaultLine[];
  readonly #memory: readonly MemoryLine[];
  readonly #scrapes: readonly Scrape[];

  /** @param text the whole file */
  constructor(text: string) {
    const lines = text
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line) as RecordLine);
    const soak = lines.find((line) => line.type === "soak");
    if (soak === undefined) throw new Error("the file does not begin as one of a soak");
    this.seed = soak.seed;
    this.seconds = soak.seconds;
    this.faults = lines.filter((line) => line.type === "fault");
    this.#memory = lines.filter((line) => line.type === "memory");
    this.#scrapes = scrapesOf(lines);
  }

  /** The times of the faults whose kind begins with one of these words. */
  spans(...words: readonly string[]): readonly Span[] {
    return this.faults.filter(({ kind }) => words.some((word) => kind.startsWith(word)));
  }

  /** A second's increase of counters with this name, over all processes, by a name made from their labels. */
  rates(name: string, groupOf: (labels: Readonly<Record<string, string>>) => string): ReadonlyMap<string, Point[]> {
    const windows = Math.ceil(this.seconds / WINDOW_SECONDS);
    const sums = new Map<string, number[]>();
    for (const { series, fromSecond, toSecond, increase } of this.#increases(name)) {
      const group = groupOf(seriesOf(series).labels);
      const sum = sums.get(group) ?? new Array<number>(windows).fill(0);
      sums.set(group, sum);
      // Evenly over the seconds, because a process that was paused shows its calls late.
      const parts = Math.max(1, Math.ceil(toSecond - fromSecond));
      for (let part = 0; part < parts; part++) {
        const at = Math.floor((fromSecond + ((part + 0.5) * (toSecond - fromSecond)) / parts) / WINDOW_SECONDS);
        if (at >= 0 && at < windows) sum[at] = sum[at]! + increase / parts;
      }
    }
    return new Map(
      [...sums].map(([group, sum]) => [group, sum.map((total, at) => pointOf(at, total / WINDOW_SECONDS))]),
    );
  }

  /** Quantiles of a histogram, over all processes, of the series that `isMeant` picks. */
  quantiles(
    name: string,
    isMeant: (labels: Readonly<Record<string, string>>) => boolean,
    shares: readonly number[],
  ): readonly Point[][] {
    const counts = this.rates(`${name}_bucket`, (labels) => (isMeant(labels) ? labels.le! : "other"));
    const bounds = [...counts.keys()]
      .filter((bound) => bound !== "other")
      .map((text) => ({ text, most: text === "+Inf" ? Number.POSITIVE_INFINITY : Number(text) }))
      .toSorted((a, b) => a.most - b.most);
    const windows = counts.get("+Inf")?.length ?? 0;
    return shares.map((share) =>
      Array.from({ length: windows }, (_, at) => {
        const upTo = bounds.map(({ text, most }) => ({ most, count: counts.get(text)![at]!.value! * WINDOW_SECONDS }));
        return pointOf(at, quantileOf(upTo, share));
      }),
    );
  }

  /** A gauge of each process as a line. */
  gauges(name: string): readonly Line[] {
    return [...Map.groupBy(this.#scrapes, ({ process }) => process)].toSorted().map(([process, scrapes]) => ({
      name: process,
      points: withGaps(scrapes.map(({ second, life, samples }) => ({ second, life, value: samples.get(name) }))),
    }));
  }

  /** The memory of each process as a line, in bytes. */
  memory(of: "rssBytes" | "heapBytes"): readonly Line[] {
    return [...Map.groupBy(this.#memory, ({ process }) => process)].toSorted().map(([process, samples]) => ({
      name: process,
      points: withGaps(samples.map((sample) => ({ ...sample, value: sample[of] }))),
    }));
  }

  *#increases(name: string) {
    const before = new Map<string, Scrape>();
    for (const scrape of this.#scrapes) {
      const earlier = before.get(scrape.process);
      before.set(scrape.process, scrape);
      const isSameLife = earlier?.life === scrape.life;
      for (const [series, value] of scrape.samples) {
        if (!series.startsWith(`${name}{`) && series !== name) continue;
        const increase = value - (isSameLife ? (earlier.samples.get(series) ?? 0) : 0);
        const fromSecond = isSameLife ? earlier.second : Math.max(0, scrape.second - 1);
        if (increase > 0) yield { series, fromSecond, toSecond: scrape.second, increase };
      }
    }
  }
}

/** A file has only the series that changed, so each scrape is the one before with its changes. */
function scrapesOf(lines: readonly RecordLine[]): readonly Scrape[] {
  const latest = new Map<string, Scrape>();
  return lines.flatMap((line) => {
    if (line.type !== "scrape") return [];
    const { second, process, life, changed } = line;
    const before = latest.get(process);
    const samples = new Map([...(before?.life === life ? before.samples : []), ...Object.entries(changed)]);
    const scrape = { second, process, life, samples };
    latest.set(process, scrape);
    return [scrape];
  });
}

/** Adds a gap where a process had no sample, or began a new life. */
function withGaps(samples: readonly (Point & { readonly life: number })[]): readonly Point[] {
  return samples.flatMap((sample, at) => {
    const before = samples[at - 1];
    const isApart =
      before !== undefined && (before.life !== sample.life || sample.second - before.second > GAP_SECONDS);
    return isApart ? [{ second: sample.second, value: undefined }, sample] : [sample];
  });
}

/** Interpolated within its bucket, as Prometheus does. */
function quantileOf(
  upTo: readonly { readonly most: number; readonly count: number }[],
  share: number,
): number | undefined {
  const total = upTo.at(-1)?.count ?? 0;
  if (total < FEWEST_CALLS) return undefined;
  const at = upTo.findIndex(({ count }) => count >= total * share);
  const [low, high] = [upTo[at - 1], upTo[at]!];
  if (high.most === Number.POSITIVE_INFINITY) return low?.most;
  const [from, below] = [low?.most ?? 0, low?.count ?? 0];
  return from + ((high.most - from) * (total * share - below)) / Math.max(high.count - below, 1e-9);
}

function pointOf(at: number, value: number | undefined): Point {
  return { second: (at + 0.5) * WINDOW_SECONDS, value };
}
