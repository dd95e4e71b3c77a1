/**
 * Pictures of a soak: `npm run soak -- --scrape-to soak.jsonl`, then `node scripts/plots/soak.ts soak.jsonl`. It writes
 * docs/pictures/soak-*.svg, or to the folder of a second argument.
 *
 *   soak.ts          this command: what each picture shows
 *   soak-figures.ts  the file of a soak as figures over time
 *   chart.ts         a chart over time
 *   paper.ts         the paper that all pictures share, bench/propagation-picture.ts too
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Chart, chartOf, type Line, ticksTo } from "./chart.ts";
import { SoakFigures } from "./soak-figures.ts";

const MIB = 1024 * 1024;
/** Codes with a line of their own. The others share one, because each is rare. */
const CODES: Readonly<Record<string, string>> = {
  OK: "OK",
  UNAVAILABLE: "UNAVAILABLE",
  DEADLINE_EXCEEDED: "DEADLINE_EXCEEDED",
};
const OTHERS = "other codes";
/** Lines of the durations' axis, in milliseconds. */
const DURATIONS = [0.1, 1, 10, 100, 1000, 10_000];

/** Kinds of faults by the beginnings of their names. */
const POSTGRES = [
  ...["postgres", "neighbour", "all our backends", "feeds'", "a long write", "rows of", "table of", "log of"],
  ...["polls locked", "no connection", "transactions are", "disk full"],
];
const PROCESSES = ["process", "all processes", "rolling"];

const [file, folder = join(import.meta.dirname, "../../docs/pictures")] = process.argv.slice(2);
if (file === undefined) {
  process.stderr.write("usage: node scripts/plots/soak.ts FILE [FOLDER]\n");
  process.exitCode = 2;
} else {
  const figures = new SoakFigures(readFileSync(file, "utf8"));
  mkdirSync(folder, { recursive: true });
  for (const [name, chart] of Object.entries(chartsOf(figures))) {
    const path = join(folder, `soak-${name}.svg`);
    writeFileSync(path, chartOf(chart));
    process.stdout.write(`${path}\n`);
  }
}

function chartsOf(figures: SoakFigures): Readonly<Record<string, Chart>> {
  const { seconds } = figures;
  const rows = [
    { name: "PostgreSQL, its links", spans: figures.spans(...POSTGRES) },
    { name: "Redis, its links", spans: figures.spans("redis") },
    { name: "processes", spans: figures.spans(...PROCESSES) },
    { name: "near clients", spans: figures.spans("near") },
  ];
  const shades = Object.fromEntries(
    rows.map(({ name, spans }) => [name, { name: `faults of ${name.replace(", its", " and its")}`, spans }]),
  );
  const all = { rows, seconds };
  return {
    calls: { ...callsOf(figures), ...all, shaded: shades["PostgreSQL, its links"]! },
    durations: { ...durationsOf(figures), ...all, shaded: shades["PostgreSQL, its links"]! },
    feed: { ...feedOf(figures), ...all, shaded: shades["PostgreSQL, its links"]! },
    limits: { ...limitsOf(figures), ...all, shaded: shades["Redis, its links"]! },
    memory: { ...memoryOf(figures), ...all, shaded: shades.processes! },
  };
}

type Shown = Omit<Chart, "rows" | "seconds" | "shaded">;

function callsOf(figures: SoakFigures): Shown {
  const rates = figures.rates("latchkey_calls_total", ({ code = "" }) => CODES[code] ?? OTHERS);
  const lines = [...Object.values(CODES), OTHERS].flatMap((name) => {
    const points = rates.get(name);
    return points === undefined ? [] : [{ name, points }];
  });
  return {
    title: "Calls of three processes, by code",
    axis: "calls a second",
    ticks: ticksTo(mostOf(lines)),
    scale: "linear",
    lines,
  };
}

function durationsOf(figures: SoakFigures): Shown {
  const isVerify = ({ method = "" }) => method.endsWith("KeyService/VerifyKey");
  const [p50, p99] = figures.quantiles("latchkey_call_duration_seconds", isVerify, [0.5, 0.99]);
  const inMs = (points: Line["points"]) =>
    points.map(({ second, value }) => ({ second, value: value === undefined ? undefined : value * 1000 }));
  return {
    title: "Duration of VerifyKey in the service",
    axis: "milliseconds (logarithmic)",
    ticks: DURATIONS.map((ms) => [ms, ms.toLocaleString("en-US")]),
    scale: "logarithmic",
    lines: [
      { name: "p50", points: inMs(p50!) },
      { name: "p99", points: inMs(p99!) },
    ],
  };
}

function feedOf(figures: SoakFigures): Shown {
  const lines = figures.gauges("latchkey_change_feed_age_seconds");
  return {
    title: "Age of the last good poll of the change feed",
    axis: "seconds",
    ticks: ticksTo(Math.max(8, mostOf(lines))),
    scale: "linear",
    lines,
    bound: { value: 5, text: "5 s: older records are not fresh" },
  };
}

function limitsOf(figures: SoakFigures): Shown {
  const alone = figures.rates("latchkey_limits_degraded_total", () => "all").get("all") ?? [];
  return {
    title: "Limits that a process decided alone",
    axis: "decisions a second",
    ticks: ticksTo(Math.max(1, mostOf([{ name: "", points: alone }]))),
    scale: "linear",
    lines: [{ name: "degraded decisions of three processes", points: alone }],
  };
}

function memoryOf(figures: SoakFigures): Shown {
  const inMib = (line: Line, what: string): Line => ({
    name: `${line.name}: ${what}`,
    points: line.points.map(({ second, value }) => ({ second, value: value === undefined ? undefined : value / MIB })),
  });
  const rss = figures.memory("rssBytes").map((line) => inMib(line, "RSS"));
  const heap = figures.memory("heapBytes").map((line) => inMib(line, "heap in use"));
  const isShown = ({ name }: Line) => !/process [12]: heap/.test(name);
  const lines = [...rss, ...heap].filter(isShown);
  return {
    title: "Memory of each process",
    axis: "MiB",
    ticks: ticksTo(mostOf(lines)),
    scale: "linear",
    lines,
  };
}

function mostOf(lines: readonly Line[]): number {
  return Math.max(0, ...lines.flatMap(({ points }) => points.map(({ value = 0 }) => value)));
}
