import { mutantsOf } from "./tested-mutant.ts";

/** Faults in the reads of the database, and in the proof of the server that is read. */
export const READS_MUTANTS = [
  ...mutantsOf(
    "src/postgres/errors/driver-errors.ts",
    ["test/contract/conflicts.test.ts", "test/postgres/standby.servers.test.ts"],
    [
      {
        name: "a standby's refusal is a fault of ours",
        search: '  if (codeOf(error) === "0A000") return unavailable("the database is a standby", "25006");\n',
        replacement: "",
        why: "callers are told INTERNAL for as long as DATABASE_URL reaches a standby",
      },
    ],
  ),
  ...mutantsOf(
    "src/postgres/history/standby-check.ts",
    ["test/contract/read-and-write.test.ts"],
    [
      {
        name: "rows of a read in reverse",
        search: "order by r.row_order",
        replacement: "order by r.row_order desc",
        why: "pages of a list overlap and leave rows out",
      },
    ],
  ),
  ...mutantsOf(
    "src/start/service.ts",
    ["test/rpc/own-changes.servers.test.ts"],
    [
      {
        name: "own changes not applied after COMMIT",
        search: "const onChanges = (changes: readonly Change[]) => bus.publish(changes);",
        replacement: "const onChanges = (_: readonly Change[]) => {};",
        why: "a caller that revoked a key is told that it is good until the feed tells of it",
      },
    ],
  ),
  ...mutantsOf(
    "src/changes/change-feed.ts",
    ["test/changes/change-feed.test.ts"],
    [
      {
        name: "signals that come during a poll forgotten",
        search: "if (this.#polling !== undefined || this.#isResting) this.#isPollWanted = true;",
        replacement: "if (this.#polling !== undefined) return;\n    if (this.#isResting) this.#isPollWanted = true;",
        why: "what was committed behind the snapshot of that poll is told up to a second later",
      },
      {
        name: "a slow poll counts as sent when it was answered",
        search: "this.#freshAtMs = sentAtMs;",
        replacement: "this.#freshAtMs = this.#deps.clock.elapsedMs();",
        why: "a poll of 2 s makes copies 2 s too fresh",
      },
    ],
  ),
  ...mutantsOf(
    "src/changes/watch-changes.ts",
    ["test/changes/watch-changes.test.ts"],
    [
      {
        name: "steps of before the catch-up told after it",
        search: "() => queue.clear());",
        replacement: "() => {});",
        why: "a client's cursor goes back, perhaps to a history that has been undone",
      },
    ],
  ),
  ...mutantsOf(
    "src/changes/record-cache.ts",
    ["test/keys/batch-reads.test.ts"],
    [
      {
        name: "a statement for each key of a batch",
        search: "      this.#flyTogether([...missingById.values()], readMany);\n",
        replacement: "",
        why: "a batch of cold keys takes as many statements as it has keys",
      },
      {
        name: "a key that is being read is read again by a batch",
        search: "kept[at] === undefined && !this.#flights.has(id)",
        replacement: "kept[at] === undefined",
        why: "single-flight does not hold for batches: hot keys are read several times after an outage",
      },
    ],
  ),
  ...mutantsOf(
    "src/postgres/rows/grouped-reads.ts",
    ["test/postgres/grouped-reads.test.ts"],
    [
      {
        name: "what waits behind a lost statement is sent",
        search: "[...group, ...this.#waiting.splice(0)]",
        replacement: "group",
        why: "behind a frozen server callers wait one statement after another",
      },
      {
        name: "statements without a bound",
        search: "const MAX_GROUP = 256;",
        replacement: "const MAX_GROUP = 1e9;",
        why: "one statement reads all that a process lacks, and takes longer than it may",
      },
    ],
  ),
  ...mutantsOf(
    "src/auth/signing/signing-keys.ts",
    ["test/auth/signing-keys.test.ts"],
    [
      {
        name: "a read of signing keys from before a suspension believed",
        search: "return this.#isFresh(read) ? read : this.#load();",
        replacement: "return read;",
        why: "a signing key that was revoked meanwhile verifies",
      },
      {
        name: "a read overtaken by a change kept",
        search: "if (this.#reload !== reload) return;",
        replacement: "",
        why: "the signing keys of before a revocation come back",
      },
    ],
  ),
];
