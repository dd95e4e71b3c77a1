import type { WindowState } from "./decision.ts";

export type Header = readonly [name: string, value: string];

const MINUTE_MS = 60_000;

/**
 * The state of windows as header fields: `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-09,
 * structured fields), and the older `X-RateLimit-*` of the window with the least remaining share. Without windows there
 * are no fields.
 */
export function rateLimitFields(windows: readonly WindowState[]): Header[] {
  const tightest = tightestOf(windows);
  if (tightest === undefined) return [];
  return [
    ["RateLimit-Policy", windows.map(policyOf).join(", ")],
    ["RateLimit", windows.map(stateOf).join(", ")],
    ["X-RateLimit-Limit", String(tightest.limit)],
    ["X-RateLimit-Remaining", String(tightest.remaining)],
    ["X-RateLimit-Reset", String(secondsOf(tightest.resetAfterMs))],
  ];
}

/** The name of a window in the fields: `minute`, `day`, or `search/minute` for the limit `search`. */
export function windowLabel({ name, windowMs }: WindowState): string {
  const length = windowMs === MINUTE_MS ? "minute" : "day";
  return name === "" ? length : `${name}/${length}`;
}

/** Whole seconds, rounded up. */
export function secondsOf(ms: number): number {
  return Math.ceil(ms / 1000);
}

/** A window's figures, whatever else is known of it. */
type Figures = Pick<WindowState, "limit" | "remaining">;

/** The window with the least remaining share, the first of several; undefined if there is none. */
export function tightestOf<W extends Figures>(windows: readonly W[]): W | undefined {
  if (windows.length === 0) return undefined;
  return windows.reduce((one, other) => (shareOf(other) < shareOf(one) ? other : one));
}

/** The remaining share of a window, from 0 to 1. A window with the limit 0 has nothing left. */
function shareOf({ limit, remaining }: Figures): number {
  return limit === 0 ? 0 : remaining / limit;
}

function policyOf(window: WindowState): string {
  return `${quoted(windowLabel(window))};q=${window.limit};w=${window.windowMs / 1000}`;
}

function stateOf(window: WindowState): string {
  return `${quoted(windowLabel(window))};r=${window.remaining};t=${secondsOf(window.resetAfterMs)}`;
}

/** A string of structured fields (RFC 9651, 3.3.3). */
function quoted(text: string): string {
  return `"${text.replace(/[\\"]/g, "\\$&")}"`;
}
