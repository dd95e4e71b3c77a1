/** The calls that clients saw a limiter accept, and whether they certainly exceed a limit. */

/** One accepted call. The limiter counted it at some moment between the two times. */
export interface Accept {
  readonly sentAtMs: number;
  readonly answeredAtMs: number;
}

/**
 * The maximum number of calls that were certainly accepted within one window of this length: both times of each lie in
 * it. A lower limit was exceeded, at whatever moment between its two times each call was counted.
 */
export function mostWithin(accepts: readonly Accept[], windowMs: number): number {
  const inOrder = accepts.toSorted((a, b) => a.sentAtMs - b.sentAtMs);
  let most = 0;
  for (const [at, { sentAtMs }] of inOrder.entries()) {
    const endMs = sentAtMs + windowMs;
    let within = 0;
    for (let later = at; later < inOrder.length && inOrder[later]!.sentAtMs <= endMs; later++) {
      if (inOrder[later]!.answeredAtMs <= endMs) within++;
    }
    most = Math.max(most, within);
  }
  return most;
}

/** The calls that a fixed window (one counter per calendar window) accepts: up to 2 L around the turn of a window. */
export function acceptedByFixedWindow(calls: readonly Accept[], limit: number, windowMs: number, turnMs: number) {
  const counts = new Map<number, number>();
  return inOrderOf(calls).filter(({ sentAtMs }) => {
    const window = Math.floor((sentAtMs - turnMs) / windowMs);
    const count = counts.get(window) ?? 0;
    if (count >= limit) return false;
    counts.set(window, count + 1);
    return true;
  });
}

/** The calls that a sliding counter accepts, which weighs the previous calendar window: nearly 2 L as well. */
export function acceptedByWeightedWindow(calls: readonly Accept[], limit: number, windowMs: number, turnMs: number) {
  const counts = new Map<number, number>();
  return inOrderOf(calls).filter(({ sentAtMs }) => {
    const at = (sentAtMs - turnMs) / windowMs;
    const window = Math.floor(at);
    const count = counts.get(window) ?? 0;
    const before = (counts.get(window - 1) ?? 0) * (1 - (at - window));
    if (before + count + 1 > limit) return false;
    counts.set(window, count + 1);
    return true;
  });
}

/**
 * The calls that a perfect limiter accepts (an exact sliding log): it forgets each call exactly one window later.
 * @param timeOf the time at which a call reached the limiter
 */
export function acceptedByExactWindow(
  calls: readonly Accept[],
  limit: number,
  windowMs: number,
  timeOf: (call: Accept) => number,
): readonly Accept[] {
  const accepted: Accept[] = [];
  for (const call of calls.toSorted((a, b) => timeOf(a) - timeOf(b))) {
    const full = accepted.at(-limit);
    if (full === undefined || timeOf(call) - timeOf(full) >= windowMs) accepted.push(call);
  }
  return accepted;
}

function inOrderOf(calls: readonly Accept[]): readonly Accept[] {
  return calls.toSorted((a, b) => a.sentAtMs - b.sentAtMs);
}
