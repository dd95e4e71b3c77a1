import type { Mutant } from "../simulation/mutant.ts";

const CACHE = "client/src/near/near-cache.ts";
const STREAM = "client/src/near/stream-knowledge.ts";
const KEYS = "client/src/near/near-keys.ts";
const RECORD = "client/src/near/near-record.ts";

export const MUTANTS: readonly Mutant[] = [
  {
    name: "position by xmin",
    file: "src/changes/snapshot.ts",
    search: 'return BigInt(xmax) - BigInt(underWay === "" ? 0 : underWay.split(",").length);',
    replacement: "return BigInt(snapshot.slice(0, snapshot.length - xmax.length - underWay.length - 2));",
    why: "an old transaction holds all positions: an answer from before a revocation counts as one that contains it",
  },
  {
    name: "the floor not raised",
    seed: 191,
    file: STREAM,
    search: "if (!this.#isWhole) this.#floor = Math.max(this.#floor, Number(position));",
    replacement: "",
    why: "a change that the stream's first snapshot sees is never told: an older answer is kept fresh for ever",
  },
  {
    name: "answers kept before the first whole message",
    seed: 1729,
    file: STREAM,
    search: "if (isSameHistory && this.#isWhole && answer.position > 0",
    replacement: "if (isSameHistory && answer.position > 0",
    why: "the floor is not known yet: an answer from before the resync is kept fresh for ever",
  },
  {
    name: "an answer's epoch not compared",
    seed: 504,
    file: STREAM,
    search: "const isSameHistory = answer.epoch !== 0n && answer.epoch === this.#epoch;",
    replacement: "const isSameHistory = answer.epoch !== 0n;",
    why: "an answer of lost history, or of other settings, is kept fresh for ever",
  },
  {
    name: "the epoch of a resumed stream not compared",
    file: STREAM,
    search: 'return attempt.cursor === "" || epoch !== this.#epoch;',
    replacement: 'return attempt.cursor === "";',
    why: "a process of other settings takes over the stream: what was judged by the old ones stays fresh for ever",
  },
  {
    name: "age by the database's clock",
    file: CACHE,
    search: "trueAtMs: Math.floor(sentAtMs - Math.max(0, durationMs(age)) * (1 + DRIFT)),",
    replacement:
      "trueAtMs: this.#clock.elapsedMs() - (timestampMs(freshness.serveTime ?? freshness.asOfTime!) - timestampMs(freshness.asOfTime!)),",
    why: "both of its times are from before the answer was sent: a proxy that holds it back makes it young",
  },
  {
    name: "age by the wall clock",
    file: CACHE,
    search: "trueAtMs: Math.floor(sentAtMs - Math.max(0, durationMs(age)) * (1 + DRIFT)),",
    replacement:
      "trueAtMs: Math.floor(this.#clock.elapsedMs() - (this.#clock.nowMs() - timestampMs(freshness.asOfTime!))),",
    why: "this host's clock is an hour behind: a record counts as true in an hour",
  },
  {
    name: "the age of an answer from its receipt",
    file: CACHE,
    search: "trueAtMs: Math.floor(sentAtMs - Math.max(0, durationMs(age)) * (1 + DRIFT)),",
    replacement: "trueAtMs: Math.floor(this.#clock.elapsedMs() - Math.max(0, durationMs(age)) * (1 + DRIFT)),",
    why: "a proxy that holds an answer back makes it young",
  },
  {
    name: "the age of the stream from the receipt of its messages",
    seed: 40,
    file: STREAM,
    search: "Math.min(nowMs, tellsOf(attempt.openedAtMs, durationMs(asOfElapsed)))",
    replacement: "nowMs",
    why: "a proxy that holds the stream back keeps revoked keys young",
  },
  {
    name: "the stream's moment taken for a record that it can't vouch for",
    seed: 681,
    file: CACHE,
    search: "record.isWatched ? Math.max(record.trueAtMs, this.#stream.trueAtMs) : record.trueAtMs",
    replacement: "Math.max(record.trueAtMs, this.#stream.trueAtMs)",
    why: "an answer of unknown standing is kept fresh for ever",
  },
  {
    name: "the stream's moment taken for a record that a change named",
    file: KEYS,
    search: "if (!isWatched || own < position) this.delete(digest);",
    replacement: "if (!isWatched) this.delete(digest);",
    why: "a change that was told does not end the record: a revoked key is accepted for ever",
  },
  {
    name: "an answer kept that a told change overtook",
    seed: 14,
    file: STREAM,
    search: "if (subjectIds.some((id) => position < this.#told.positionOf(id))) return",
    replacement: "if (false) return",
    why: "an answer from before a change comes after the news of it, and is kept fresh for ever",
  },
  {
    name: "the owner's state forgotten",
    file: CACHE,
    search: 'isOwnerDisabled: verdictNameOf(response) === "OWNER_DISABLED",',
    replacement: "isOwnerDisabled: false,",
    why: "a key of a disabled owner is accepted",
  },
  {
    name: "Key.state EXPIRED believed",
    seed: 21,
    file: RECORD,
    search: 'return state === State.DISABLED || disabledBy !== "" ? "disabled" : "active";',
    replacement: 'return state === State.DISABLED ? "disabled" : "active";',
    why: "EXPIRED hides that a key is disabled: its verdict differs from the service's",
  },
  {
    name: "negative entries renewed by the stream",
    file: CACHE,
    search: "const ageMs = nowMs - absent.trueAtMs;",
    replacement: "const ageMs = nowMs - Math.max(absent.trueAtMs, this.#stream.trueAtMs);",
    why: "a key that is unknown to one process is refused for longer than 5 s",
  },
  {
    name: "max_staleness ignored",
    seed: 29,
    file: CACHE,
    search: "boundMs: Math.min(Math.floor(durationMs(maxStaleness)), this.#options.maxStalenessMs),",
    replacement: "boundMs: this.#options.maxStalenessMs,",
    why: "a client that allows a minute accepts a revoked key for a minute",
  },
  {
    name: "sessions dropped on resync",
    file: STREAM,
    search: "    this.#areSessionsWhole = false;\n    this.#trueAtMs",
    replacement: "    (this as { sessions: EndedSessions }).sessions = new EndedSessions();\n    this.#trueAtMs",
    why: "a process of other settings resumes the stream, and lists no session: tokens of ended sessions are good again",
  },
];
