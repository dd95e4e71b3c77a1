import type { Beside } from "./beside.ts";
import type { CachedKeys } from "./cached-keys.ts";
import type { ClientFigures } from "./client-calls.ts";
import type { KeptKeys } from "./kept-keys.ts";
import type { DecisionCost } from "./limiter.ts";
import type { Figures } from "./measure.ts";
import type { Ratio } from "./ratios.ts";
import { FLOOR } from "./rows.ts";

/** The result of a run. `--json` prints it as it is. */
export interface Report {
  readonly date: string;
  /** The machine and its load: without them a figure means nothing. */
  readonly machine: string;
  readonly latencyRates: readonly number[];
  readonly rows: readonly Figures[];
  readonly limiter: readonly DecisionCost[];
  readonly cachedKeys: readonly CachedKeys[];
  readonly beside: readonly Beside[];
  readonly clients: readonly ClientFigures[];
  readonly keptKeys: readonly KeptKeys[];
  readonly ratios: readonly Ratio[];
}

/** The report as Markdown, which a terminal shows well too. */
export function formatReport(report: Report): string {
  const floorUs = report.rows.find(({ name }) => name === FLOOR)?.serverUs;
  const head = ["", "calls/s", "CPU µs", "±", "Redis µs", "x bare", ...report.latencyRates.flatMap(titles)];
  const rows = report.rows.map((row) => [
    row.name,
    thousands(row.perSecond),
    short(row.serverUs),
    percent(row.spread),
    short(row.redisUs),
    floorUs === undefined ? "" : (row.serverUs / floorUs).toFixed(2),
    ...report.latencyRates.flatMap((rate) => {
      const latency = row.latencies.find((one) => one.rate === rate);
      return [latency?.p50Ms.toFixed(2) ?? "", latency?.p99Ms.toFixed(2) ?? ""];
    }),
  ]);
  const decisions = report.limiter.map((cost) => [
    cost.name,
    thousands(1e6 / cost.wallUs),
    short(cost.nodeUs),
    "",
    short(cost.redisUs),
    ...new Array<string>(head.length - 5).fill(""),
  ]);
  const cachedKeys = report.cachedKeys.map((one) => [
    thousands(one.keys),
    thousands(one.heapBytes),
    one.hitUs.toFixed(2),
  ]);
  const beside = report.beside.map(({ name, p50Ms, p99Ms, timesIdle, stallMs }) => [
    name,
    p50Ms.toFixed(2),
    p99Ms.toFixed(2),
    timesIdle.toFixed(1),
    stallMs.toFixed(0),
  ]);
  const ratios = report.ratios.map(({ name, value, spread }) => [name, value.toFixed(2), percent(spread)]);
  const tables = [
    markdown(head, [...rows, ...decisions]),
    ...(cachedKeys.length > 0 ? [markdown(["keys in memory", "heap bytes each", "hit µs"], cachedKeys)] : []),
    ...(beside.length > 0
      ? [markdown(["beside another client", "p50", "p99", "x idle", "longest stall"], beside)]
      : []),
    ...clientTables(report),
    markdown(["ratios of this run", "", "±"], ratios),
  ];
  return `${report.date}, ${report.machine}. p50 and p99 in ms, by calls/s.\n\n${tables.join("\n\n")}\n`;
}

/** The tables of clients that were measured. */
function clientTables({ clients, keptKeys }: Report): readonly string[] {
  const called = clients.map((one) => [
    one.name,
    thousands(one.perSecond),
    short(one.clientUs),
    percent(one.spread),
    short(one.serviceUs),
    one.calls.toFixed(3),
  ]);
  const kept = keptKeys.map((one) => [
    one.name,
    thousands(one.keys),
    thousands(one.heapBytes),
    one.hitUs.toFixed(2),
    thousands(1e6 / one.hitUs),
  ]);
  return [
    ...(called.length > 0
      ? [markdown(["50 callers in a process", "verdicts/s", "its CPU µs", "±", "service µs", "calls"], called)]
      : []),
    ...(kept.length > 0
      ? [markdown(["kept in a client's process", "keys", "heap bytes each", "verdict µs", "verdicts/s"], kept)]
      : []),
  ];
}

/** A rate in short form, such as 1k for 1,000 calls/s. */
function titles(rate: number): readonly string[] {
  return [`p50 ${rate / 1000}k`, `p99 ${rate / 1000}k`];
}

/** A table in Markdown. All columns except the first are numbers. */
export function markdown(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((_, column) => Math.max(3, ...[head, ...rows].map((row) => row[column]!.length)));
  const pad = (text: string, column: number) =>
    column === 0 ? text.padEnd(widths[column]!) : text.padStart(widths[column]!);
  const line = (cells: readonly string[]) => `| ${cells.map(pad).join(" | ")} |`;
  const rule = widths.map((width, column) => (column === 0 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`));
  return [line(head), line(rule), ...rows.map(line)].join("\n");
}

function thousands(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}

/** A number with three digits, because a measurement is not more precise. */
export function short(value: number | undefined): string {
  if (value === undefined) return "";
  if (value >= 100) return Math.round(value).toString();
  return value.toFixed(value < 1 ? 3 : 1);
}
