/**
 * Whether a process grows without a bound: by the slope of the memory in use over its life, never by an amount. Pure.
 *
 * Each process collects all garbage every 10 s. So the least heap of each 10 s is what is in use. The slope is the
 * lower quartile of the slopes between all pairs of them (Theil-Sen takes the median). Neither a few odd samples nor a
 * single step move it.
 */
import type { Violation } from "../nemesis/history.ts";

export interface MemorySample {
  readonly process: string;
  /** Seconds since the start of the run. */
  readonly second: number;
  /** Number of starts of the process. */
  readonly life: number;
  readonly rssBytes: number;
  readonly heapBytes: number;
}

/** The growth of a process in one of its lives. */
export interface Growth {
  readonly process: string;
  readonly fromSecond: number;
  readonly toSecond: number;
  /** In use at the beginning and at the end, after the warm-up. */
  readonly firstBytes: number;
  readonly lastBytes: number;
  readonly bytesAMinute: number;
  readonly mostRssBytes: number;
}

/** A process compiles its code and fills its caches and pools first. */
const WARM_UP_SECONDS = 30;
const LEAST_OF_SECONDS = 10;
/** Lives with fewer figures are not judged. */
const FEWEST_FIGURES = 4;
const MIB = 1024 * 1024;
/** The keys and sessions of a run, which live on in caches, are below a quarter of this. */
const MOST_A_MINUTE = 2 * MIB;
/** A growth below this may be one table that doubled. */
const MOST_GROWTH = 8 * MIB;

/** @param startedMs the start of the run */
export function growthViolations(samples: readonly MemorySample[], startedMs: number): Violation[] {
  return growthsOf(samples).flatMap(({ process, bytesAMinute, firstBytes, lastBytes, fromSecond, toSecond }) => {
    if (bytesAMinute <= MOST_A_MINUTE || lastBytes - firstBytes <= MOST_GROWTH) return [];
    const grown = `from ${mib(firstBytes)} to ${mib(lastBytes)} MiB, by ${mib(bytesAMinute)} MiB a minute`;
    const text = `the heap of ${process} grew ${grown}, from second ${fromSecond} to ${toSecond}`;
    return [{ rule: "memory", text, subject: process, atMs: startedMs + toSecond * 1000 }];
  });
}

/** All lives that are long enough to be judged, in the order of their first samples. */
export function growthsOf(samples: readonly MemorySample[]): Growth[] {
  return [...Map.groupBy(samples, ({ process, life }) => `${process} ${life}`).values()].flatMap((life) => {
    const beganSecond = life[0]!.second + WARM_UP_SECONDS;
    const warm = life.filter(({ second }) => second >= beganSecond);
    const least = [
      ...Map.groupBy(warm, ({ second }) => Math.floor((second - beganSecond) / LEAST_OF_SECONDS)).values(),
    ].map((group) => group.reduce((low, sample) => (sample.heapBytes < low.heapBytes ? sample : low)));
    if (least.length < FEWEST_FIGURES) return [];
    const [first, last] = [least[0]!, least.at(-1)!];
    return [
      {
        process: first.process,
        fromSecond: first.second,
        toSecond: last.second,
        firstBytes: first.heapBytes,
        lastBytes: last.heapBytes,
        bytesAMinute: slopeOf(least) * 60,
        mostRssBytes: Math.max(...life.map(({ rssBytes }) => rssBytes)),
      },
    ];
  });
}

/** Bytes a second. */
function slopeOf(samples: readonly MemorySample[]): number {
  const slopes = samples.flatMap((one, at) =>
    samples.slice(at + 1).map((other) => (other.heapBytes - one.heapBytes) / (other.second - one.second)),
  );
  return slopes.toSorted((a, b) => a - b)[Math.floor(slopes.length / 4)]!;
}

/** Mebibytes with one decimal. */
export function mib(bytes: number): string {
  return (bytes / MIB).toFixed(1);
}
