/** A fault that somebody could make in one line, and that the simulation must find. */
export interface Mutant {
  readonly name: string;
  /** From the root of the project. */
  readonly file: string;
  /** Occurs once in the file. */
  readonly search: string;
  readonly replacement: string;
  /** What goes wrong then. */
  readonly why: string;
}

const CACHE = "src/changes/record-cache.ts";
const WINDOW = "src/limits/window.ts";
const STORE_PART = "src/limits/store-part.ts";
const LOCAL_SHARE = "src/limits/local-share.ts";
const FEED = "src/changes/change-feed.ts";
/** What the statement of a poll does is the model's, since no PostgreSQL runs here. */
const STATEMENT = "test/simulation/postgres-model.ts";

export const MUTANTS: readonly Mutant[] = [
  {
    name: "no generation check",
    file: CACHE,
    search: "if (!isOvertaken) this.#kept.keep(id, entry);",
    replacement: "this.#kept.keep(id, entry);",
    why: "an old row is kept after the news that it is old, and the feed proves it fresh for ever",
  },
  {
    name: "owner not checked at fill",
    file: CACHE,
    search: "haveChanged(this.#kept.tagsOf(entry), changeCount)",
    replacement: "haveChanged(this.#kept.tagsOf(entry).slice(0, 1), changeCount)",
    why: "only the row itself names its owner, so that a fill outlives the owner's change",
  },
  {
    name: "a flight joined after a change",
    file: CACHE,
    search: "else if (this.#options.kinds.includes(kind)) this.#detach(subjectId);",
    replacement: "else if (this.#options.kinds.includes(kind)) void 0;",
    why: "who asks after a revocation was acknowledged is given a row that was read before it",
  },
  {
    name: "a flight joined after its owner changed",
    file: CACHE,
    search: 'if (kind === "OWNER") this.#flights.clear();',
    replacement: 'if (kind === "OWNER") this.#detach(subjectId);',
    why: "only the row itself names its owner: who asks after the owner was disabled is given what was read before",
  },
  {
    name: "an absence that outlives the issuing of what was absent",
    file: CACHE,
    search: "subjectId: ownText(subjectId) }",
    replacement: 'subjectId: "" }',
    why: "who asked for a key too early is refused for seconds after it was issued",
  },
  {
    name: "a poll's time taken at its end",
    file: FEED,
    search: "this.#take(poll, sentAtMs);",
    replacement: "this.#take(poll, clock.monotonicMs());",
    why: "what was committed between a poll's snapshot and its answer is claimed to be in",
  },
  {
    name: "failover with lower transaction ids not noticed",
    file: FEED,
    search: "const isBehind = poll.xmax < this.#xmax;",
    replacement: "const isBehind = false;",
    why: "changes whose ids the cursor has seen already, in a history that is gone, never come",
  },
  {
    name: "incarnation not compared",
    file: "src/changes/change-store.ts",
    search: "a.timeline === b.timeline && a.incarnation === b.incarnation;",
    replacement: "a.timeline === b.timeline;",
    why: "a crash gives ids again that the cursor has seen: what changes under them never comes, once others have used more",
  },
  {
    name: "incarnation read by another statement",
    file: "test/simulation/database-link.ts",
    search: "incarnation: incarnationText(value.incarnation) }",
    replacement: "incarnation: incarnationText(this.readIncarnation ?? value.incarnation) }",
    why: "what another statement read before a crash names a snapshot of after it, which counts as the same history",
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
    why: "a number is drawn before its transaction commits: whatever commits late is behind the cursor",
  },
  {
    name: "rows and snapshot from two statements",
    file: STATEMENT,
    search: "snapshot: snapshotText(snapshot),",
    replacement: "snapshot: snapshotText(this.takeSnapshot()),",
    why: "what commits between the two is in neither",
  },
  {
    name: "a window of 60 buckets",
    file: WINDOW,
    search: "this.#dropBefore(current - BUCKETS_BEFORE);",
    replacement: "this.#dropBefore(current - BUCKETS_BEFORE + 1);",
    why: "an interval of the window's length touches 61 of them: twice the limit comes in over a boundary",
  },
  {
    name: "a silence believed at once",
    file: STORE_PART,
    search: "timers.nextTurn(() => reject(",
    replacement: "queueMicrotask(() => reject(",
    why: "each stall of this process is taken for an outage of the store",
  },
  {
    name: "the whole limit while the store is away",
    file: LOCAL_SHARE,
    search: "Math.ceil(figure / this.#processes)",
    replacement: "figure",
    why: "each process admits as much as all of them may together",
  },
  {
    name: "a denial remembered for too long",
    file: "src/limits/full-windows.ts",
    search: "isBelieved && ageMs < denial.decision.retryAfterMs",
    replacement: "isBelieved",
    why: "who comes back when he was told to is denied",
  },
];
