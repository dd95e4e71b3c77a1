import { mutantsOf } from "./tested-mutant.ts";

const CACHE = ["test/client/near/near-cache.test.ts"];
const JUDGED = ["test/client/near/near-judgement.test.ts"];
const MEMORY = ["test/client/near/near-memory.test.ts"];
const SESSIONS = ["test/client/near/ended-sessions.test.ts"];

/** The near cache of the client: which answers it keeps, and how it judges by them. */
export const NEAR_MUTANTS = [
  ...mutantsOf("client/src/near/near-cache.ts", CACHE, [
    {
      name: "near: rules of a later version",
      search: " || nearRules < 1 || nearRules > NEAR_RULES",
      replacement: "",
      why: "a client judges by rules that it does not know",
    },
    {
      name: "near: answers that a resync overtook",
      search: "if (isSuspended || exchange.drops !== this.#drops) return;",
      replacement: "if (isSuspended) return;",
      why: "an answer from before a resync is kept fresh by the stream after it",
    },
    {
      name: "near: answers that a suspension overtook",
      search: "if (isSuspended || exchange.drops !== this.#drops) return;",
      replacement: "if (exchange.drops !== this.#drops) return;",
      why: "an answer may be as old as the suspension was long",
    },
    {
      name: "near: age without that of the answer",
      search: "sentAtMs - Math.max(0, durationMs(age)) * (1 + DRIFT)",
      replacement: "sentAtMs",
      why: "a record of a process that lags counts as new",
    },
    {
      name: "near: the option alone bounds a record's age",
      search: "Math.min(Math.floor(durationMs(maxStaleness)), this.#options.maxStalenessMs)",
      replacement: "this.#options.maxStalenessMs",
      why: "max_staleness is ignored",
    },
    {
      name: "near: the answer alone bounds a record's age",
      search: "Math.min(Math.floor(durationMs(maxStaleness)), this.#options.maxStalenessMs)",
      replacement: "Math.floor(durationMs(maxStaleness))",
      why: "while its database is unreachable, the service declares more than a minute",
    },
    {
      name: "near: records from before a suspension are fresh",
      search: "ageMs < record.boundMs && trueAtMs >= this.#clock.skippedAtMs",
      replacement: "ageMs < record.boundMs",
      why: "a suspension of 2 s goes unnoticed",
    },
    {
      name: "near: records live for ever",
      search: "if (nowMs >= record.endsAtMs) {",
      replacement: "if (record.endsAtMs < 0) {",
      why: "a lost change is believed without an end",
    },
    {
      name: "near: unwatched records are renewed by the stream",
      search: "record.isWatched ? Math.max(record.trueAtMs, this.#stream.trueAtMs) : record.trueAtMs",
      replacement: "Math.max(record.trueAtMs, this.#stream.trueAtMs)",
      why: "the stream's age is taken for a record that it does not watch",
    },
    {
      name: "near: an earlier answer replaces a later one",
      search: "return doCompare ? known.position > times.position : known.trueAtMs > times.trueAtMs;",
      replacement: "return false;",
      why: "what arrives last counts, also if it was read first",
    },
    {
      name: "near: a refusal that is not kept leaves the record",
      search: "if (!OF_THE_USE.has(verdict)) this.#keys.delete(digest);",
      replacement: "",
      why: "the service says REVOKED, and the next verdict is VALID",
    },
  ]),
  ...mutantsOf("client/src/near/near-cache.ts", JUDGED, [
    {
      name: "near: owners are never disabled",
      search: 'isOwnerDisabled: verdictNameOf(response) === "OWNER_DISABLED"',
      replacement: "isOwnerDisabled: false",
      why: "DisableUser leaves the keys working near",
    },
    {
      name: "near: INVALID of another environment kept",
      search: "form === undefined || !isOfEnvironment(environment, form.environment)",
      replacement: "form === undefined",
      why: "one service that wants test keys makes live keys INVALID for all",
    },
    {
      name: "near: INVALID for as long as a record",
      search: "boundMs: Math.min(times.boundMs, ABSENT_MS)",
      replacement: "boundMs: 65_000",
      why: "a key that was issued lately stays INVALID",
    },
  ]),
  ...mutantsOf("client/src/near/stream-knowledge.ts", CACHE, [
    {
      name: "near: epochs not compared",
      search: "const isSameHistory = answer.epoch !== 0n && answer.epoch === this.#epoch;",
      replacement: "const isSameHistory = true;",
      why: "positions of two histories are compared",
    },
    {
      name: "near: told changes not compared",
      search: "isSameHistory && subjectIds.some((id) => answer.position < this.#told.positionOf(id))",
      replacement: "false",
      why: "an answer that a change overtook is kept",
    },
    {
      name: "near: no floor",
      search: " && answer.position >= this.#mostFloor",
      replacement: "",
      why: "a revocation that the stream's first snapshot contains is never told",
    },
    {
      name: "near: the floor before the first whole message",
      search: "isSameHistory && this.#isWhole && answer.position > 0",
      replacement: "isSameHistory && answer.position > 0",
      why: "changes of later parts are not known yet",
    },
    {
      name: "near: forgotten changes raise no floor",
      search: "Math.max(this.#floor, this.#told.forgottenTo)",
      replacement: "this.#floor",
      why: "the 10,001st change makes an old answer good again",
    },
    {
      name: "near: kept by its own age beside a living stream",
      search: 'this.#living.size === 0 ? "by_own_age" : "refused"',
      replacement: '"by_own_age"',
      why: "an answer that a living stream can't vouch for is used again",
    },
    {
      name: "near: an unknown kind changes nothing",
      search: "        this.#copies.dropAll();\n        if (!isOutdated) this.#told.forgetTo(toldAt);",
      replacement: "",
      why: "a later version's change is missed",
    },
    {
      name: "near: an unknown kind raises no floor",
      search: "if (!isOutdated) this.#told.forgetTo(toldAt);",
      replacement: "",
      why: "an answer from before that change is kept",
    },
    {
      name: "near: a stream from before a suspension proves freshness",
      search: "asOfElapsed === undefined || attempt.skippedMs !== this.#clock.skippedMs",
      replacement: "asOfElapsed === undefined",
      why: "the size of a suspension is an estimate, and may be wrong by an hour",
    },
    {
      name: "near: no drift of the service's clock",
      search: " - Math.abs(asOfElapsedMs) * DRIFT",
      replacement: "",
      why: "after ten minutes a message counts as 120 ms younger than it is",
    },
    {
      name: "near: a start without a cursor is no resync",
      search: 'return attempt.cursor === "" || epoch !== this.#epoch;',
      replacement: "return epoch !== this.#epoch;",
      why: "what changed before the start is never told",
    },
    {
      name: "near: a resync lowers the floor",
      search: "if (!this.#isWhole) this.#floor = Math.max(this.#floor, Number(position));",
      replacement: "if (!this.#isWhole) this.#floor = Number(position);",
      why: "a process that lags brings back answers from before a change",
    },
    {
      name: "near: an older stream of another epoch counts",
      search: "const isOutdated = epoch !== this.#epoch && attempt.number < this.#epochBy;",
      replacement: "const isOutdated = false;",
      why: "two processes with different settings make each other's answers fresh",
    },
  ]),
  ...mutantsOf("client/src/near/stream-knowledge.ts", SESSIONS, [
    {
      name: "near: sessions are known before the last part",
      search: "this.#areSessionsWhole && !this.sessions",
      replacement: "!this.sessions",
      why: "a token is accepted before its session's end is told",
    },
    {
      name: "near: forgotten sessions are good again",
      search: " && !this.sessions.mayHaveForgotten(issuedAtMs)",
      replacement: "",
      why: "after 100,000 ends the first ones are forgotten",
    },
  ]),
  ...mutantsOf("client/src/near/near-record.ts", JUDGED, [
    {
      name: "near: the state EXPIRED hides DISABLED",
      search: 'return state === State.DISABLED || disabledBy !== "" ? "disabled" : "active";',
      replacement: 'return state === State.DISABLED ? "disabled" : "active";',
      why: "a disabled key whose end was moved is VALID",
    },
    {
      name: "near: the end of an old secret not looked at",
      search: "secretExpiresAtMs: facts.secretExpireTime && timestampMs(facts.secretExpireTime)",
      replacement: "secretExpiresAtMs: undefined",
      why: "a rotation ends nothing",
    },
  ]),
  ...mutantsOf("client/src/near/near-judgement.ts", JUDGED, [
    {
      name: "near: keys of another environment",
      search: "if (!isAny && !isOfEnvironment(",
      replacement: "if (isAny && !isOfEnvironment(",
      why: "test keys work on the live service",
    },
    {
      name: "near: expiry by the earliest time alone",
      search: "judgeKey(record, input, time?.hiMs ?? Number.POSITIVE_INFINITY)",
      replacement: "judgeKey(record, input, time?.loMs ?? 0)",
      why: "a key is VALID after its end",
    },
    {
      name: "near: a limit of the request needs no count",
      search: "ownLimits.length > 0 || input.limits.some(hasFigure)",
      replacement: "ownLimits.length > 0",
      why: "a limit that the service adds is never counted",
    },
    {
      name: "near: credentials of services may be keys",
      search: " && !RESERVED_ENVIRONMENTS.includes(form.environment)",
      replacement: "",
      why: "each costs a call",
    },
  ]),
  ...mutantsOf("client/src/near/database-time.ts", JUDGED, [
    {
      name: "near: the database's clock is never set",
      search: "const isNew = known === undefined || isEmpty;",
      replacement: "const isNew = known === undefined;",
      why: "after a step of that clock no interval is right again",
    },
    {
      name: "near: time from before a suspension",
      search: "if (this.#skippedMs !== this.#clock.skippedMs) return undefined;",
      replacement: "",
      why: "a key that ended meanwhile is VALID",
    },
  ]),
  ...mutantsOf("client/src/near/near-keys.ts", MEMORY, [
    {
      name: "near: keys in use evicted first",
      search: "} else if (record.isUsed) {",
      replacement: "} else if (!record.isUsed) {",
      why: "hot keys cost calls",
    },
    {
      name: "near: no bound of bytes",
      search: " || this.#bytes + record.bytes > this.#maxBytes",
      replacement: "",
      why: "large keys fill the memory of the program",
    },
    {
      name: "near: keys not tied to their owner",
      search: "[verified.id, verified.ownerId]",
      replacement: "[verified.id]",
      why: "keys of a disabled user work near",
    },
  ]),
];
