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
    "src/changes/snapshot.ts",
    ["test/changes/epoch.test.ts"],
    [
      {
        name: "a position counts what is under way",
        search: 'return BigInt(xmax) - BigInt(underWay === "" ? 0 : underWay.split(",").length);',
        replacement: "return BigInt(xmax) - BigInt(underWay.length * 0);",
        why: "an answer from before a revocation counts as one that contains it",
      },
    ],
  ),
  ...mutantsOf(
    "src/changes/epoch.ts",
    ["test/changes/epoch.test.ts"],
    [
      {
        name: "an epoch without settings",
        search: "JSON.stringify([systemId, timeline, incarnation, settings])",
        replacement: "JSON.stringify([systemId, timeline, incarnation])",
        why: "a client keeps an answer of a process with other tiers",
      },
      {
        name: "an epoch without the incarnation",
        search: "JSON.stringify([systemId, timeline, incarnation, settings])",
        replacement: "JSON.stringify([systemId, timeline, settings])",
        why: "after a crash a client compares positions that do not compare",
      },
    ],
  ),
  ...mutantsOf(
    "src/changes/freshness.ts",
    ["test/changes/epoch.test.ts", "test/changes/watch-changes.test.ts"],
    [
      {
        name: "time between moments by the host's clock",
        search: "Math.min(to.monotonicMs - from.monotonicMs, to.elapsedMs - from.elapsedMs)",
        replacement: "to.elapsedMs - from.elapsedMs",
        why: "a host's clock that is set forward makes a client's records look fresh",
      },
      {
        name: "time between moments without suspensions",
        search: "Math.min(to.monotonicMs - from.monotonicMs, to.elapsedMs - from.elapsedMs)",
        replacement: "to.monotonicMs - from.monotonicMs",
        why: "a poll from before a suspension makes a client's records look fresh",
      },
    ],
  ),
  ...mutantsOf(
    "src/changes/watch-changes.ts",
    ["test/changes/watch-changes.test.ts"],
    [
      {
        name: "another epoch within a stream not told",
        search: "step.resync || step.epoch !== epoch",
        replacement: "step.resync",
        why: "a client goes on with records of another history",
      },
      {
        name: "parts without their position",
        search: 'return { ...step, cursor: "", changes, resync };',
        replacement: 'return { ...step, position: 0n, cursor: "", changes, resync };',
        why: "a client can't tell which of its answers a part overtook",
      },
    ],
  ),
  ...mutantsOf(
    "src/rpc/handlers/verdict-encoding.ts",
    ["test/rpc/verdict-encoding.test.ts"],
    [
      {
        name: "an age that is forgotten",
        search: "elapsedMs - freshness.trueAtMs",
        replacement: "0",
        why: "a client keeps a record for its whole bound that was old when it came",
      },
      {
        name: "answers that rest on no record may be kept",
        search: "freshness === undefined ? NEVER_NEAR : NEAR_RULES",
        replacement: "NEAR_RULES",
        why: "a client keeps an answer that no change will ever end",
      },
    ],
  ),
  ...mutantsOf(
    "src/rpc/handlers/freshness-encoding.ts",
    ["test/rpc/verdict-encoding.test.ts"],
    [
      {
        name: "the age of the answer before",
        search: "ageWholeMs === this.#lastAgeMs && ",
        replacement: "",
        why: "an old record is sent with the age of a fresh one",
      },
      {
        name: "the position of the answer before",
        search: "      last.position === position &&\n",
        replacement: "",
        why: "a record of another position is sent with a position at which it was not read",
      },
    ],
  ),
  ...mutantsOf(
    "src/keys/forgotten-denials.ts",
    ["test/keys/forgotten-denials.test.ts"],
    [
      {
        name: "denials remembered through a reset elsewhere",
        search: 'if (kind === "KEY") this.#limiter.forget(keySubject(subjectId));',
        replacement: "void kind;\n    void subjectId;",
        why: "a key that an operator reset is denied by other processes for 5 s",
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
    ["test/rpc/own-changes.servers.test.ts"],
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
