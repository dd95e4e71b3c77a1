/** A chart over the time of a run as SVG: lines, shaded times of faults, and a row for the faults of each part. */
import { escaped, paperOf, tenths } from "./paper.ts";

export interface Point {
  readonly second: number;
  /** undefined where there is no value: the line has a gap. */
  readonly value: number | undefined;
}

export interface Line {
  readonly name: string;
  /** In the order of time. */
  readonly points: readonly Point[];
}

export interface Span {
  readonly fromSecond: number;
  readonly toSecond: number;
}

export interface Chart {
  readonly title: string;
  /** The title of the vertical axis, with its unit. */
  readonly axis: string;
  /** The ticks of the vertical axis, upwards, with their texts. Values beyond the last one are drawn at it. */
  readonly ticks: readonly (readonly [value: number, text: string])[];
  readonly scale: "linear" | "logarithmic";
  /** At most six. */
  readonly lines: readonly Line[];
  /** A value with a meaning of its own, as a dashed line. */
  readonly bound?: { readonly value: number; readonly text: string };
  /** Times that are shaded behind the lines. */
  readonly shaded: { readonly name: string; readonly spans: readonly Span[] };
  /** The faults of each part, as rows below. */
  readonly rows: readonly { readonly name: string; readonly spans: readonly Span[] }[];
  readonly seconds: number;
}

const WIDTH = 860;
const LEFT = 150;
const RIGHT = 836;
const PLOT_HEIGHT = 220;
const LEGEND_ROW = 20;
const FAULT_ROW = 15;
/** About the widths of a capital and of any other letter of the legend. */
const [CAPITAL, LETTER] = [9.2, 7.1];
/** Faults shorter than this are drawn as wide as this. */
const NARROWEST = 1.5;
const CLASSES = ["a", "b", "c", "d", "e", "f"];

const STYLE = `
  .small { font-size: 11px }
  .note { paint-order: stroke; stroke: #ffffff; stroke-width: 4px }
  .shade { fill: #bc4c00; opacity: 0.14 }
  .fault { fill: #59636e }
  .bound { stroke-width: 2; stroke-dasharray: 2 3 }
  .a { stroke: #0969da }
  .b { stroke: #bc4c00; stroke-dasharray: 6 3 }
  .c { stroke: #1a7f37 }
  .d { stroke: #8250df; stroke-dasharray: 2 2 }
  .e { stroke: #cf222e }
  .f { stroke: #9a6700; stroke-dasharray: 8 3 2 3 }`;
const DARK = `
    .note { stroke: #0d1117 }
    .shade { fill: #f0883e; opacity: 0.22 }
    .fault { fill: #9198a1 }
    .a { stroke: #58a6ff }
    .b { stroke: #f0883e }
    .c { stroke: #3fb950 }
    .d { stroke: #bc8cff }
    .e { stroke: #ff7b72 }
    .f { stroke: #d29922 }`;

export function chartOf(chart: Chart): string {
  const legend = legendOf(chart);
  const top = 40 + legend.rows * LEGEND_ROW + 14;
  const bottom = top + PLOT_HEIGHT;
  const rowsTop = bottom + 30;
  const height = rowsTop + chart.rows.length * FAULT_ROW + 34;
  // The last sample may come just after the end.
  const x = (second: number) => tenths(LEFT + (Math.min(second, chart.seconds) / chart.seconds) * (RIGHT - LEFT));
  const y = verticalOf(chart, top, bottom);
  const parts = [
    ...legend.parts,
    ...rects(chart.shaded.spans, "shade", top, PLOT_HEIGHT, x),
    ...minutesOf(chart.seconds).flatMap((second) => [
      `<path class="grid" d="M${x(second)} ${top}V${bottom}"/>`,
      `<text class="small" x="${x(second)}" y="${bottom + 16}" text-anchor="middle">${clock(second)}</text>`,
    ]),
    ...chart.ticks.flatMap(([value, text]) => [
      `<path class="grid" d="M${LEFT} ${y(value)}H${RIGHT}"/>`,
      `<text class="small" x="${LEFT - 8}" y="${y(value) + 4}" text-anchor="end">${escaped(text)}</text>`,
    ]),
    `<text transform="translate(${LEFT - 62} ${(top + bottom) / 2}) rotate(-90)" text-anchor="middle">${escaped(chart.axis)}</text>`,
    ...chart.lines.map(({ points }, at) => `<path class="line ${CLASSES[at]}" d="${pathOf(points, x, y)}"/>`),
    ...(chart.bound === undefined
      ? []
      : [
          `<path class="line bound e" d="M${LEFT} ${y(chart.bound.value)}H${RIGHT}"/>`,
          `<text class="small note" x="${RIGHT - 6}" y="${y(chart.bound.value) - 6}" text-anchor="end">${escaped(chart.bound.text)}</text>`,
        ]),
    ...chart.rows.flatMap(({ name, spans }, at) => {
      const rowTop = rowsTop + at * FAULT_ROW;
      const middle = rowTop + FAULT_ROW / 2;
      return [
        `<text class="small" x="${LEFT - 8}" y="${middle + 4}" text-anchor="end">${escaped(name)}</text>`,
        `<path class="grid" d="M${LEFT} ${middle}H${RIGHT}"/>`,
        ...rects(spans, "fault", rowTop + 3, FAULT_ROW - 6, x),
      ];
    }),
    `<text class="small" x="${(LEFT + RIGHT) / 2}" y="${height - 14}" text-anchor="middle">${X_TITLE}</text>`,
  ];
  return paperOf({ width: WIDTH, height, title: chart.title, left: 24, style: STYLE, darkStyle: DARK, parts });
}

const X_TITLE = "minutes and seconds of the soak; a bar of a row is a fault of that part";

/** Entries from left to right, in as many rows as they need. */
function legendOf({ lines, shaded }: Chart): { readonly rows: number; readonly parts: readonly string[] } {
  const entries = [
    ...lines.map(({ name }, at) => ({ name, mark: (left: number, middle: number) => markOf(at, left, middle) })),
    {
      name: shaded.name,
      mark: (left: number, middle: number) =>
        `<rect class="shade" x="${left}" y="${middle - 6}" width="28" height="12"/>`,
    },
  ];
  let [left, row] = [24, 0];
  const parts = entries.flatMap(({ name, mark }) => {
    const capitals = name.replaceAll(/[^A-Z_]/g, "").length;
    const width = 36 + capitals * CAPITAL + (name.length - capitals) * LETTER + 18;
    if (left + width > WIDTH - 12 && left > 24) [left, row] = [24, row + 1];
    const middle = 50 + row * LEGEND_ROW;
    const made = [mark(left, middle), `<text x="${left + 36}" y="${middle + 4}">${escaped(name)}</text>`];
    left += width;
    return made;
  });
  return { rows: row + 1, parts };
}

function markOf(at: number, left: number, middle: number): string {
  return `<path class="line ${CLASSES[at]}" d="M${left} ${middle}h28"/>`;
}

function rects(
  spans: readonly Span[],
  look: string,
  top: number,
  height: number,
  x: (second: number) => number,
): readonly string[] {
  return spans.map(({ fromSecond, toSecond }) => {
    const width = tenths(Math.max(NARROWEST, x(toSecond) - x(fromSecond)));
    return `<rect class="${look}" x="${x(fromSecond)}" y="${top}" width="${width}" height="${height}"/>`;
  });
}

function verticalOf({ ticks, scale }: Chart, top: number, bottom: number): (value: number) => number {
  const [least, most] = [ticks[0]![0], ticks.at(-1)![0]];
  const place = scale === "linear" ? (value: number) => value : Math.log;
  return (value) => {
    const inside = Math.min(Math.max(value, least), most);
    const share = (place(inside) - place(least)) / (place(most) - place(least));
    return tenths(bottom - share * (bottom - top));
  };
}

function pathOf(points: readonly Point[], x: (second: number) => number, y: (value: number) => number): string {
  let isDrawing = false;
  return points
    .map(({ second, value }) => {
      if (value === undefined) {
        isDrawing = false;
        return "";
      }
      const command = isDrawing ? "L" : "M";
      isDrawing = true;
      return `${command}${x(second)} ${y(value)}`;
    })
    .join("");
}

/** Ticks of time: as many as fit. */
function minutesOf(seconds: number): readonly number[] {
  const every = [10, 30, 60, 120, 300].find((step) => seconds / step <= 12) ?? 600;
  return Array.from({ length: Math.floor(seconds / every) + 1 }, (_, n) => n * every);
}

function clock(second: number): string {
  return `${Math.floor(second / 60)}:${String(second % 60).padStart(2, "0")}`;
}

/** Ticks from 0 to a round number that is at least `most`. */
export function ticksTo(most: number, unit = ""): readonly (readonly [number, string])[] {
  const rough = Math.max(most, 1e-9) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((each) => each >= rough)!;
  return Array.from({ length: 5 }, (_, n) => [n * step, `${Number((n * step).toPrecision(6))}${unit}`] as const);
}
