import { describe, expect, it } from "vitest";
import { chartOf, ticksTo } from "../../scripts/plots/chart.ts";
import { SoakFigures } from "../../scripts/plots/soak-figures.ts";
import { history, limitCall, near, verdict } from "../nemesis/sample-history.ts";
import { samplesOf, seriesOf } from "./exposition.ts";
import { growthsOf, growthViolations, type MemorySample } from "./memory.ts";
import { promisesOf } from "./promises.ts";
import type { RecordLine } from "./record.ts";

const MIB = 1024 * 1024;

/** A sample each second. Garbage of up to 40 MiB is collected every 10 s. */
function life(seconds: number, usedMib: (second: number) => number, number = 1): MemorySample[] {
  return Array.from({ length: seconds }, (_, second) => ({
    process: "process 0",
    second,
    life: number,
    rssBytes: 300 * MIB,
    heapBytes: (usedMib(second) + (second % 10) * 4) * MIB,
  }));
}

describe("the judgement of memory", () => {
  it.each<[string, MemorySample[]]>([
    ["a process with garbage and steady use", life(300, () => 50)],
    ["a process that fills its caches first", life(300, (second) => 50 + 30 * (1 - Math.exp(-second / 10)))],
    ["a table that doubled once", life(300, (second) => (second < 150 ? 50 : 70))],
    ["a growth that is too small to count", life(180, (second) => 50 + second / 60)],
    ["a process that started again and again", [1, 2, 3].flatMap((n) => life(60, (second) => 50 + second, n))],
  ])("accepts %s", (_, samples) => expect(growthViolations(samples, 0)).toEqual([]));

  it.each<[string, MemorySample[]]>([
    ["a leak of 3 MiB a minute", life(300, (second) => 50 + (second * 3) / 60)],
    ["a leak of 10 MiB a minute in a shorter life", life(120, (second) => 50 + (second * 10) / 60)],
  ])("reports %s", (_, samples) => {
    expect(growthViolations(samples, 0)).toMatchObject([{ rule: "memory", subject: "process 0" }]);
  });

  it("measures what is in use after the garbage is collected", () => {
    const [growth] = growthsOf(life(300, (second) => 50 + second / 60));
    expect(growth!.firstBytes / MIB).toBeCloseTo(50.5, 1);
    expect(growth!.bytesAMinute / MIB).toBeCloseTo(1, 5);
  });
});

describe("the table of promises", () => {
  it("counts what was judged", () => {
    const of = history([verdict("VALID", 5000), verdict("REVOKED", 6000), near("VALID", 5000), limitCall(5000)]);
    const checks = promisesOf(of, [], []).map((one) => one.checks);
    expect(checks.slice(0, 4)).toEqual([1, 1, 1, 1]);
  });

  it.each([
    ...["verdict", "near", "limit", "successor", "session", "session lost", "acknowledged", "revoked twice", "watcher"],
    ...["code", "recovery", "sweep", "crash", "memory"],
  ])("shows a violation of the rule %s at one promise", (rule) => {
    const violation = { rule, text: "it is broken", subject: "key_1", atMs: 0 };
    const broken = promisesOf(history([]), [violation], []).filter(({ violations }) => violations > 0);
    expect(broken).toHaveLength(1);
  });
});

describe("a scrape", () => {
  it("has the samples of Prometheus' text format", () => {
    const text = '# HELP a b\n# TYPE a counter\na{method="x/y",code="OK"} 3\nb 1.5e-3 1700000000\nc NaN\n';
    expect(samplesOf(text)).toEqual({ 'a{method="x/y",code="OK"}': 3, b: 0.0015 });
    expect(seriesOf('a{method="x/y",code="O\\"K"}').labels).toEqual({ method: "x/y", code: 'O\\"K' });
  });
});

describe("the figures of a soak", () => {
  const scrape = (second: number, number: number, changed: Record<string, number>): RecordLine => ({
    ...({ type: "scrape", process: "process 0", second } as const),
    ...{ life: number, changed },
  });
  const figures = (...lines: RecordLine[]) =>
    new SoakFigures([{ type: "soak", seed: 1, seconds: 10 }, ...lines].map((line) => JSON.stringify(line)).join("\n"));
  const values = (points: readonly { readonly value: number | undefined }[]) => points.map(({ value }) => value);

  it("count a restarted process from 0, and a series that did not change as before", () => {
    const of = figures(
      scrape(1, 1, { 'calls{code="OK"}': 10, gauge: 1 }),
      scrape(2, 1, { gauge: 2 }),
      scrape(3, 1, { 'calls{code="OK"}': 15 }),
      scrape(7, 2, { 'calls{code="OK"}': 5 }),
    );
    expect(values(of.rates("calls", ({ code }) => code!).get("OK")!)).toEqual([3, 1]);
    expect(values(of.gauges("gauge")[0]!.points)).toEqual([1, 2, 2, undefined, undefined]);
  });

  it("interpolate a quantile within its bucket", () => {
    const buckets = { 'd_bucket{le="1"}': 50, 'd_bucket{le="2"}': 100, 'd_bucket{le="+Inf"}': 100 };
    const [p75] = figures(scrape(1, 1, buckets)).quantiles("d", () => true, [0.75]);
    expect(values(p75!)).toEqual([1.5, undefined]);
  });

  it("are drawn with gaps, units and the names of lines", () => {
    const svg = chartOf({
      ...{ title: "A < B", axis: "seconds", ticks: ticksTo(7), scale: "linear", seconds: 60, rows: [] },
      shaded: { name: "faults", spans: [{ fromSecond: 10, toSecond: 20 }] },
      lines: [{ name: "one", points: [1, undefined, 3].map((value, second) => ({ second, value })) }],
    });
    expect(svg).toContain("A &lt; B");
    expect(svg).toMatch(/class="line a" d="M[\d.]+ [\d.]+M[\d.]+ [\d.]+"/);
    expect(ticksTo(7).map(([, text]) => text)).toEqual(["0", "2", "4", "6", "8"]);
  });
});
