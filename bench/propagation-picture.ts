/** A picture of waiting times as SVG: for each time, the share of waits that were over by then. */
import { escaped, paperOf, tenths } from "../scripts/plots/paper.ts";
import { quantile } from "./rounds.ts";

/** One line of the picture. */
export interface Series {
  readonly name: string;
  readonly tookMs: readonly number[];
}

const SIZE = { width: 720, height: 400 };
/** The area of the lines. */
const AREA = { left: 64, right: 696, top: 96, bottom: 344 };
/** Waiting times beyond the edges are drawn at them. */
const LEAST_MS = 1;
const MOST_MS = 10_000;
const TICKS_MS = [1, 10, 100, 1_000, 10_000];
/** No process accepts a revoked key for longer. */
const BOUND_MS = 5_000;
const TICK_SHARES = [0, 0.25, 0.5, 0.75, 1];
/** The classes of the lines, which have a colour in light and in dark. */
const LINES = ["first", "second"];

const STYLE = `
  .bound { stroke-width: 2; stroke-dasharray: 2 3 }
  .first { stroke: #0969da }
  .second { stroke: #bc4c00 }
  .second.line { stroke-dasharray: 6 3 }`;
const DARK = `
    .first { stroke: #58a6ff }
    .second { stroke: #f0883e }`;

/** @param series at most two lines */
export function propagationPicture(title: string, series: readonly Series[]): string {
  const parts = [
    ...series.flatMap(({ name, tookMs }, at) => legend(name, tookMs, at)),
    ...TICKS_MS.flatMap((ms) => [
      `<path class="grid" d="M${x(ms)} ${AREA.top}V${AREA.bottom}"/>`,
      `<text x="${x(ms)}" y="${AREA.bottom + 18}" text-anchor="middle">${ms.toLocaleString("en-US")}</text>`,
    ]),
    `<path class="grid bound" d="M${x(BOUND_MS)} ${AREA.top}V${AREA.bottom}"/>`,
    `<text x="${x(BOUND_MS)}" y="${AREA.top - 8}" text-anchor="middle">the bound</text>`,
    ...TICK_SHARES.flatMap((share) => [
      `<path class="grid" d="M${AREA.left} ${y(share)}H${AREA.right}"/>`,
      `<text x="${AREA.left - 8}" y="${y(share) + 4}" text-anchor="end">${share * 100} %</text>`,
    ]),
    `<text x="${(AREA.left + AREA.right) / 2}" y="${SIZE.height - 14}" text-anchor="middle">${X_TITLE}</text>`,
    `<text transform="translate(16 ${(AREA.top + AREA.bottom) / 2}) rotate(-90)" text-anchor="middle">${Y_TITLE}</text>`,
    ...series.map(({ tookMs }, at) => `<path class="line ${LINES[at]}" d="${steps(tookMs)}"/>`),
  ];
  return paperOf({ ...SIZE, title, left: AREA.left, style: STYLE, darkStyle: DARK, parts });
}

const X_TITLE = "milliseconds from the revocation's answer to the first refusal (logarithmic)";
const Y_TITLE = "share of revocations";

function legend(name: string, tookMs: readonly number[], at: number): readonly string[] {
  const middle = 50 + at * 20;
  const figures = [
    ["p50", quantile(tookMs, 0.5)],
    ["p99", quantile(tookMs, 0.99)],
    ["max", Math.max(...tookMs)],
  ].map(([what, ms]) => `${what} ${milliseconds(ms as number)} ms`);
  return [
    `<path class="line ${LINES[at]}" d="M${AREA.left} ${middle - 4}h32"/>`,
    `<text x="${AREA.left + 42}" y="${middle}">${escaped(name)}: ${figures.join(", ")}</text>`,
  ];
}

/** The line goes up at each waiting time. Steps of less than a tenth of a pixel are left out. */
function steps(tookMs: readonly number[]): string {
  const sorted = tookMs.toSorted((a, b) => a - b);
  const at = new Map(sorted.map((ms, before) => [x(ms), y((before + 1) / sorted.length)]));
  return `M${AREA.left} ${y(0)}${[...at].map(([across, up]) => `H${across}V${up}`).join("")}H${AREA.right}`;
}

function x(ms: number): number {
  const share = Math.log(Math.min(Math.max(ms, LEAST_MS), MOST_MS) / LEAST_MS) / Math.log(MOST_MS / LEAST_MS);
  return tenths(AREA.left + share * (AREA.right - AREA.left));
}

function y(share: number): number {
  return tenths(AREA.bottom - share * (AREA.bottom - AREA.top));
}

function milliseconds(ms: number): string {
  return ms < 10 ? ms.toFixed(1) : Math.round(ms).toLocaleString("en-US");
}
