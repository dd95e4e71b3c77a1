import { mutantsOf } from "./tested-mutant.ts";

/** Faults in the freshness of copies of the truth. The simulation has mutants of its own. */
export const CHANGES_MUTANTS = [
  ...mutantsOf(
    "src/changes/record-cache.ts",
    ["test/changes/record-cache.test.ts", "test/changes/record-cache-outages.test.ts"],
    [
      {
        name: "tried again for as long as it fails",
        search: "return this.#get(wanted, load, true);",
        replacement: "return this.#get(wanted, load, isRetry);",
        why: "in a slow process the breaker never opens, and callers wait round after round",
      },
      {
        name: "absences dropped by any change",
        search: "    else return;\n",
        replacement: "    else this.#kept.clear();\n",
        why: "at ten logouts a second junk goes to the database again and again",
      },
      {
        name: "a batch sent to an unreachable database",
        search: "if (!this.#options.breaker.isOpen) {",
        replacement: "{",
        why: "during an outage every batch waits for the timeout of its read, and takes a connection meanwhile",
      },
      {
        name: "a batch counts as read when its read was sent",
        search: "    const starts = missing.map(() => this.#begin());\n    const readings = readMany(missing);",
        replacement: "    const readings = readMany(missing);\n    const starts = missing.map(() => this.#begin());",
        why: "a record counts as fresher than it is",
      },
    ],
  ),
  ...mutantsOf(
    "src/changes/freshness.ts",
    ["test/changes/record-cache.test.ts", "test/changes/suspension.test.ts"],
    [
      {
        name: "records believed for a minute",
        search: "export const FRESH_MS = 5000;",
        replacement: "export const FRESH_MS = 60_000;",
        why: "without the feed a revoked key works for a minute",
      },
      {
        name: "records of before a short suspension believed",
        search: " && asOfMs >= clock.skippedAtMs",
        replacement: "",
        why: "a key that expired meanwhile is judged by a time that stood still",
      },
    ],
  ),
  ...mutantsOf(
    "src/lib/clock.ts",
    ["test/lib/clock.test.ts"],
    [
      {
        name: "suspensions not noticed",
        search: "this.#skippedMs += aheadMs - this.#leastAheadMs;",
        replacement: "",
        why: "every copy of before a suspension counts as fresh until the first poll",
      },
      {
        name: "short suspensions never add up",
        search: "if (aheadMs < this.#leastAheadMs) {",
        replacement: "if (aheadMs < this.#leastAheadMs + MAX_UNNOTICED_MS) {",
        why: "a machine that is suspended for half a second again and again believes what is minutes old",
      },
    ],
  ),
  ...mutantsOf(
    "src/changes/kept-records.ts",
    ["test/changes/record-cache.test.ts"],
    [
      {
        name: "an older read replaces a newer one",
        search: "if (before !== undefined && before.readAtMs > entry.readAtMs) return;",
        replacement: "if (before !== undefined && before.readAtMs < entry.readAtMs) return;",
        why: "a slow read brings back what had changed",
      },
      {
        name: "an absence that no change ends",
        search: "record === undefined ? [subjectId!] :",
        replacement: "record === undefined ? [] :",
        why: "who asked for a key too early is refused for seconds after it was issued",
      },
    ],
  ),
  ...mutantsOf(
    "src/changes/recent-changes.ts",
    ["test/changes/recent-changes.test.ts"],
    [
      {
        name: "changes without a bound",
        search: "this.#changedAt.size >= MAX_REMEMBERED",
        replacement: "this.#changedAt.size < 0",
        why: "under steady misses memory grows with every change",
      },
      {
        name: "changes forgotten without a trace",
        search: "      this.#forgottenAt = this.#count;\n",
        replacement: "",
        why: "an old row is kept after the news that it is old",
      },
    ],
  ),
  ...mutantsOf(
    "src/changes/stall-watch.ts",
    ["test/changes/stall-watch.test.ts"],
    [
      {
        name: "a stall counts for what began after it",
        search: "    else this.#look();\n",
        replacement: "",
        why: "a failure that is the database's is taken for our own",
      },
    ],
  ),
  ...mutantsOf(
    "src/changes/database-breaker.ts",
    ["test/changes/database-breaker.test.ts"],
    [
      {
        name: "no probe of its own",
        search: "    this.#isOpen = true;\n    this.#probeLater();",
        replacement: "    this.#isOpen = true;",
        why: "an outage outlasts itself by up to 5 s: calls are refused, and stale records served",
      },
    ],
  ),
  ...mutantsOf(
    "src/keys/change-key.ts",
    ["test/rpc/own-changes.test.ts"],
    [
      {
        name: "what was done already is acknowledged, and not known here",
        search: "      deps.store.unchanged(found.key);\n",
        replacement: "",
        why: "a caller disables a key, has OK, and this process goes on to accept it for up to a second",
      },
    ],
  ),
  ...mutantsOf(
    "src/changes/database-clock.ts",
    ["test/changes/database-clock.test.ts", "test/changes/suspension.test.ts"],
    [
      {
        name: "an answer of before a suspension ends the doubt",
        search: "if (sentAtMs >= skippedAtMs) this.#knownSkippedMs",
        replacement: "this.#knownSkippedMs",
        why: "what was asked before says nothing of the time that passed since: an expired key is VALID",
      },
      {
        name: "moments by the present lead alone",
        search: "Math.min(this.#leastAheadMs, this.#offsetMs - this.#clock.skippedMs)",
        replacement: "this.#offsetMs - this.#clock.skippedMs",
        why: "after a suspension of less than a second, as_of_time is later than what the record shows",
      },
      {
        name: "no doubt after a suspension",
        search: "if (this.doubtMs > 0 &&",
        replacement: "if (this.doubtMs < 0 &&",
        why: "a key that expired meanwhile is served stale as VALID",
      },
      {
        name: "the database's clock runs ahead",
        search: "Math.min(Math.max(this.#offsetMs ?? leastMs, leastMs), mostMs)",
        replacement: "Math.max(this.#offsetMs ?? leastMs, leastMs)",
        why: "a clock that was set back is never followed, and keys expire early",
      },
    ],
  ),
];
