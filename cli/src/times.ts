import type { Duration, Timestamp } from "@bufbuild/protobuf/wkt";

const UNITS: readonly (readonly [name: string, ms: number])[] = [
  ["year", 31_557_600_000],
  ["month", 2_629_800_000],
  ["day", 86_400_000],
  ["hour", 3_600_000],
  ["minute", 60_000],
  ["second", 1000],
];
/** Of a unit, this many are shown before the next larger one: "36 hours" says more than "1 day". */
const LARGER_FROM = 2;
const LETTERS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };

export function msOf({ seconds, nanos }: Timestamp | Duration): number {
  return Number(seconds) * 1000 + Math.floor(nanos / 1e6);
}

/** A length of time in its largest unit of which there are two or more, such as "36 hours" or "20 seconds". */
export function lengthText(ms: number): string {
  const [name, unitMs] = UNITS.find(([, unit]) => Math.abs(ms) >= LARGER_FROM * unit) ?? UNITS.at(-1)!;
  const count = Math.max(0, Math.round(Math.abs(ms) / unitMs));
  return `${count} ${name}${count === 1 ? "" : "s"}`;
}

/** A moment as people say it: "3 hours ago", "in 30 days", "now"; `absent` where there is none. */
export function relative(nowMs: number, time: Timestamp | undefined, absent = "never"): string {
  if (time === undefined) return absent;
  const ms = msOf(time) - nowMs;
  if (Math.abs(ms) < 1000) return "now";
  return ms < 0 ? `${lengthText(ms)} ago` : `in ${lengthText(ms)}`;
}

/** A moment in both forms: "2026-12-29 10:00:00 UTC (in 30 days)". */
export function moment(nowMs: number, time: Timestamp | undefined, absent = "never"): string {
  return time === undefined ? absent : `${utc(time)} (${relative(nowMs, time)})`;
}

/** A moment as RFC 3339; empty where there is none. */
export function isoOf(time: Timestamp | undefined): string {
  return time === undefined ? "" : new Date(msOf(time)).toISOString();
}

/** A moment for lines that come over time: of its day on a terminal, else with the date. Always UTC. */
export function clockText(time: Timestamp | undefined, isTerminal: boolean): string {
  if (time === undefined) return "-";
  const text = utc(time);
  return isTerminal ? text.replace(/^[-\d]+ ([:\d]+) UTC$/, "$1") : text;
}

function utc(time: Timestamp): string {
  const date = new Date(msOf(time));
  return Number.isNaN(date.getTime()) ? "an unknown time" : `${date.toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

/** Milliseconds of a text such as "90s", "15m", "12h", "30d" or "2w"; undefined if it is none. */
export function readDuration(text: string): number | undefined {
  const [, count, letter] = /^(\d{1,9})([smhdw])$/.exec(text) ?? [];
  return count === undefined ? undefined : Number(count) * LETTERS[letter!]!;
}

/** Milliseconds since the epoch of an RFC 3339 time, or of a date, which begins at 00:00 UTC; undefined if it is none. */
export function readTime(text: string): number | undefined {
  if (!/^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:\d{2}))?$/.test(text)) return undefined;
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? undefined : ms;
}
