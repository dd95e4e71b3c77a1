import type { Mutant } from "./mutant.ts";

const CACHE = "src/changes/record-cache.ts";
const WINDOW = "src/limits/window.ts";
const WHEN_SILENT = "src/lib/when-silent.ts";
const LOCAL_SHARE = "src/limits/local-share.ts";
const FEED = "src/changes/change-feed.ts";
/** The model contains the statement of a poll, because no PostgreSQL runs here. */
const STATEMENT = "test/simulation/postgres-model.ts";

export const MUTANTS: readonly Mutant[] = [
  {
    name: "no generation check",
    seed: 19,
    file: CACHE,
    search: "if (!isOvertaken) this.#kept.keep(id, entry);",
    replacement: "this.#kept.keep(id, entry);",
    why: "an old row is kept after the news that it changed, and the feed proves it fresh forever",
  },
  {
    name: "owner not checked at fill",
    seed: 48,
    file: CACHE,
    search: "haveChanged(this.#kept.tagsOf(entry), changeCount)",
    replacement: "haveChanged(this.#kept.tagsOf(entry).slice(0, 1), changeCount)",
    why: "only the row names its owner, so a row that was read before the owner changed is kept",
  },
  {
    name: "a read is joined after a change",
    file: CACHE,
    search: "else if (this.#options.kinds.includes(kind)) this.#detach(subjectId);",
    replacement: "else if (this.#options.kinds.includes(kind)) void 0;",
    why: "a caller after an acknowledged revocation gets a row that was read before it",
  },
  {
    name: "a read is joined after the owner changed",
    seed: 97,
    file: CACHE,
    search: 'if (kind === "OWNER") this.#flights.clear();',
    replacement: 'if (kind === "OWNER") this.#detach(subjectId);',
    why: "only the row names its owner: a caller after the owner was disabled gets a row that was read before",
  },
  {
    name: "an absence is kept after the key was issued",
    file: CACHE,
    search: "subjectId: ownText(subjectId) }",
    replacement: 'subjectId: "" }',
    why: "a key that was presented too early is refused for seconds after it was issued",
  },
  {
    name: "a poll's time taken at its end",
    file: FEED,
    search: "this.#take(poll, sentAt);",
    replacement: "this.#take(poll, momentOf(clock));",
    why: "changes between a poll's snapshot and its answer count as included",
  },
  {
    name: "failover with lower transaction ids not noticed",
    file: FEED,
    search: "const isBehind = poll.xmax < this.#xmax;",
    replacement: "const isBehind = false;",
    why: "changes never come whose ids the cursor saw already in the lost history",
  },
  {
    name: "incarnation not compared",
    seed: 1399,
    file: "src/changes/change-store.ts",
    search: "a.timeline === b.timeline && a.incarnation === b.incarnation;",
    replacement: "a.timeline === b.timeline;",
    why: "a crash gives ids again that the cursor has seen: changes with these ids never come once more ids were used",
  },
  {
    name: "incarnation read by another statement",
    seed: 667,
    file: "test/simulation/database-link.ts",
    search: "incarnation: incarnationText(value.incarnation) }",
    replacement: "incarnation: incarnationText(this.readIncarnation ?? value.incarnation) }",
    why: "an incarnation from before a crash is combined with a snapshot from after it, and counts as the same history",
  },
  {
    name: "position by xmin",
    file: "src/changes/snapshot.ts",
    search: 'return BigInt(xmax) - BigInt(underWay === "" ? 0 : underWay.split(",").length);',
    replacement: "return BigInt(snapshot.slice(0, snapshot.length - xmax.length - underWay.length - 2));",
    why: "an old transaction holds all positions: an answer from before a revocation counts as one that contains it",
  },
  {
    name: "elapsed time to the end of a poll",
    file: "src/changes/watch-changes.ts",
    search: "yield { ...told, asOfElapsedMs: leastMsBetween(receivedAt, sentAt) };",
    replacement: "yield { ...told, asOfElapsedMs: leastMsBetween(receivedAt, momentOf(deps.clock)) };",
    why: "a client takes its records for true until the message came, though the poll was sent before a change",
  },
  {
    name: "a suspension not noticed",
    file: "src/lib/clock.ts",
    search: "aheadMs - this.#leastAheadMs > MAX_UNNOTICED_MS",
    replacement: "aheadMs - this.#leastAheadMs === Number.POSITIVE_INFINITY",
    why: "the monotonic clock stood still: every copy counts as fresh until the first poll",
  },
  {
    name: "a sequence number as cursor",
    file: STATEMENT,
    search: "rows.filter((row) => !sees(before, row.xactId))",
    replacement: "rows.filter((row) => rows.every((one) => !sees(before, one.xactId) || one.sequence < row.sequence))",
    why: "a number is drawn before its transaction commits: a transaction that commits late is behind the cursor",
  },
  {
    name: "rows and snapshot from two statements",
    file: STATEMENT,
    search: "snapshot: snapshotText(snapshot),",
    replacement: "snapshot: snapshotText(this.takeSnapshot()),",
    why: "a commit between the two statements is in neither",
  },
  {
    name: "a window of 60 buckets",
    file: WINDOW,
    search: "this.#dropBefore(current - BUCKETS_BEFORE);",
    replacement: "this.#dropBefore(current - BUCKETS_BEFORE + 1);",
    why: "an interval of the window's length touches 61 buckets: twice the limit is admitted across a boundary",
  },
  {
    name: "a timeout counts immediately",
    seed: 200,
    file: WHEN_SILENT,
    search: "timers.nextTurn(giveUp)",
    replacement: "queueMicrotask(giveUp)",
    why: "each stall of this process counts as an outage of the store",
  },
  {
    name: "the whole limit while the store is unreachable",
    file: LOCAL_SHARE,
    search: "Math.ceil(figure / this.#processes)",
    replacement: "figure",
    why: "each process admits as much as all processes may admit together",
  },
  {
    name: "a denial remembered for too long",
    file: "src/limits/full-windows.ts",
    search: "isBelieved && ageMs < denial.decision.retryAfterMs",
    replacement: "isBelieved",
    why: "a caller that comes back at the time of retry_after is denied",
  },
];
