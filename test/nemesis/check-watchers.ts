/**
 * The rules of watchers. The `as_of_time` of polls never goes back within a stream. And a message with an `as_of_time`
 * says that the stream has sent all changes before that time. So each change that was visible by then must have been
 * sent since its commit, or a `resync` must have come after it.
 */
import type { CommittedChange, Follower, History, Violation, WatchMessage } from "./history.ts";
import type { Truth } from "./truth.ts";

const ROUNDING_MS = 5;

export function watcherViolations(history: History, truth: Truth): Violation[] {
  return history.followers.flatMap((follower) => followerViolations(follower, history, truth));
}

function followerViolations(
  follower: Follower,
  { changes, clockDriftMs, endedMs }: History,
  truth: Truth,
): Violation[] {
  const first = follower.messages.find(({ asOfMs }) => asOfMs !== undefined);
  const complete = follower.messages.filter(({ asOfMs }) => asOfMs !== undefined);
  const lastMs = complete.at(-1)?.asOfMs ?? Number.NEGATIVE_INFINITY;
  const violations = [...orderViolations(follower.name, complete)];
  const latestChangeMs = Math.max(...changes.map(({ committedMs }) => committedMs), Number.NEGATIVE_INFINITY);
  if (lastMs < latestChangeMs) {
    const text = "was not told of everything by the end, after all faults";
    violations.push({ rule: "watcher", text, subject: follower.name, atMs: endedMs });
  }
  if (first === undefined) return violations;
  for (const change of changes) {
    // A change that was committed as the follower began may be missing.
    if (change.committedMs <= first.asOfMs! + ROUNDING_MS + clockDriftMs) continue;
    const visibleMs = truth.visibleMs(change.committedMs) + clockDriftMs;
    const claim = complete.find(({ asOfMs }) => asOfMs! > visibleMs);
    if (claim === undefined || wasTold(follower, change, claim.receivedMs)) continue;
    const text = `process ${claim.process} claimed to have told all up to ${(claim.asOfMs! - change.committedMs).toFixed(0)} ms after ${change.what} changed, and had not told it`;
    violations.push({ rule: "watcher", text, subject: change.what.split(" ")[1]!, atMs: claim.receivedMs });
  }
  return violations;
}

/** The first message of a stream, and a resync, may tell of a later read than the polls that waited behind it. */
function orderViolations(name: string, complete: readonly WatchMessage[]): Violation[] {
  const latest = new Map<number, number>();
  return complete.flatMap(({ stream, process, asOfMs = 0, receivedMs, resync }) => {
    const beforeMs = latest.get(stream);
    latest.set(stream, resync || beforeMs === undefined ? Number.NEGATIVE_INFINITY : asOfMs);
    if (beforeMs === undefined || resync || asOfMs >= beforeMs) return [];
    const text = `process ${process} went back by ${(beforeMs - asOfMs).toFixed(0)} ms in a stream`;
    return [{ rule: "watcher", text, subject: name, atMs: receivedMs }];
  });
}

function wasTold({ messages }: Follower, { what, committedMs }: CommittedChange, byMs: number): boolean {
  return messages.some(
    ({ receivedMs, resync, changes }) =>
      receivedMs <= byMs && receivedMs >= committedMs - ROUNDING_MS && (resync || changes.includes(what)),
  );
}
