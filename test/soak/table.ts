/** The summary of a run as text: promises, calls, faults and memory, each as a table. */
import { summaryOf } from "../nemesis/report.ts";
import type { Trial } from "../nemesis/trial.ts";
import { growthsOf, type MemorySample, mib } from "./memory.ts";
import { promisesOf } from "./promises.ts";

export function tableOf(trial: Trial, memory: readonly MemorySample[]): string {
  const { history, violations } = trial;
  const promises = promisesOf(history, violations, memory).map(({ promise, checks, violations: broken }) => [
    promise,
    checks.toLocaleString("en-US"),
    `${broken}`,
  ]);
  const faults = [...Map.groupBy(history.faults, ({ kind }) => kind)].map(([kind, of]) => {
    const seconds = of.reduce((sum, { startedMs, endedMs }) => sum + endedMs - startedMs, 0) / 1000;
    return [kind, `${of.length}`, seconds.toFixed(1)];
  });
  const lives = growthsOf(memory).map((life) => [
    life.process,
    `${life.fromSecond.toFixed(0)} to ${life.toSecond.toFixed(0)} s`,
    mib(life.firstBytes),
    mib(life.lastBytes),
    (life.bytesAMinute / 1024).toFixed(0),
    mib(life.mostRssBytes),
  ]);
  return [
    "",
    ...rows(["promise", "checks", "violations"], promises),
    "",
    ...rows(["fault", "times", "seconds"], faults.toSorted()),
    "",
    ...rows(
      ["memory after garbage collection", "life", "first MiB", "last MiB", "KiB a minute", "most RSS MiB"],
      lives,
    ),
    "",
    summaryOf(trial),
  ].join("\n");
}

/** Columns of equal width: the first to the left, the others to the right. */
function rows(head: readonly string[], body: readonly (readonly string[])[]): readonly string[] {
  const widths = head.map((title, at) => Math.max(title.length, ...body.map((row) => row[at]!.length)));
  const line = (row: readonly string[]) =>
    row.map((cell, at) => (at === 0 ? cell.padEnd(widths[at]!) : cell.padStart(widths[at]!))).join("  ");
  return [line(head), widths.map((width) => "-".repeat(width)).join("  "), ...body.map(line)];
}
