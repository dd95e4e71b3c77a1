import { mutantsOf } from "./tested-mutant.ts";

const COUNTING = ["test/client/counting.test.ts"];
const STREAM = ["test/client/watch-stream.test.ts"];
const TOKENS = ["test/client/access-tokens.test.ts"];
const NEAR = ["test/client/near.test.ts"];
const LASTING = ["test/client/lasting-verdicts.test.ts"];

/** The client around the near cache: its stream, counting, outages and access tokens. */
export const CLIENT_MUTANTS = [
  ...mutantsOf("client/src/counting/window-counters.ts", COUNTING, [
    {
      name: "an answer includes what was not told",
      search: "counters.used - counters.untold, atMs: nowMs };",
      replacement: "counters.used, atMs: nowMs };",
      why: "what a report carries is admitted once more",
    },
    {
      name: "a lost report is not used",
      search: "if (known.askedAtMs >= fromMs && nowMs - lastMs < known.window.windowMs) lost += cost;",
      replacement: "",
      why: "a report that the service counted is admitted once more",
    },
    {
      name: "calls under way are free",
      search: "remainingOf(counters, known, nowMs) - underWay;",
      replacement: "remainingOf(counters, known, nowMs);",
      why: "a process alone admits more than the limit",
    },
    {
      name: "counters of another figure",
      search: "known.window.limit !== limit || ",
      replacement: "",
      why: "a lowered limit is not seen",
    },
    {
      name: "counters that never grow old",
      search: " || nowMs - known.askedAtMs >= maxAgeMs",
      replacement: "",
      why: "what others used within the last hour is not known",
    },
  ]),
  ...mutantsOf("client/src/counting/counting.ts", COUNTING, [
    {
      name: "the last tenth is admitted without asking",
      search: "reserve: EXACT_SHARE",
      replacement: "reserve: 0",
      why: "processes together admit a whole limit too many",
    },
    {
      name: "a denial from the moment of its answer",
      search:
        "decisionOf(verdict);\n      this.#denials.remember({ subject: key.id, cost, limits }, decision, sentAtMs,",
      replacement:
        "decisionOf(verdict);\n      this.#denials.remember({ subject: key.id, cost, limits }, decision, this.#deps.clock.elapsedMs(),",
      why: "a caller is denied after the moment that they were told",
    },
    {
      name: "degraded denials are remembered",
      search: "if (response.degraded) {",
      replacement: "if (false) {",
      why: "one process's share denies calls for which all have room",
    },
  ]),
  ...mutantsOf("client/src/near/watch-stream.ts", STREAM, [
    {
      name: "a refused cursor is sent again",
      search: 'this.#isCursorRefused ? "" : near.cursor',
      replacement: "near.cursor",
      why: "the stream never comes back",
    },
    {
      name: "messages of a stream that was replaced",
      search: "        if (attempt.isStopped) return;\n        this.#take",
      replacement: "        this.#take",
      why: "an older stream speaks after the newer one",
    },
    {
      name: "an epoch is not needed",
      search: "if (message.epoch === 0n) throw new OlderService();",
      replacement: "",
      why: "positions of an older service are believed",
    },
    {
      name: "a silent stream stays",
      search: "      this.isSilent = true;\n      this.#controller.abort();",
      replacement: "      this.isSilent = true;",
      why: "a proxy that hangs ends near verification until the next replacement",
    },
  ]),
  ...mutantsOf("client/src/access-tokens.ts", TOKENS, [
    {
      name: "the stream's knowledge of any age",
      search: "near.streamAgeMs < maxStalenessMs && ",
      replacement: "",
      why: "a session that ended is accepted while the stream is cut",
    },
    {
      name: "any key set is proven",
      search: "if (this.#loadedAtMs >= this.#provenFromMs) return true;",
      replacement: "return true;",
      why: "a revoked signing key is accepted for five minutes",
    },
    {
      name: "a token's end by the earliest time",
      search: "time.hiMs < user.expiresAt",
      replacement: "time.loMs < user.expiresAt",
      why: "a token is accepted after its end",
    },
  ]),
  ...mutantsOf("client/src/outage.ts", NEAR, [
    {
      name: "old records after a refused credential",
      search: "error.isUnreachable && !this.#isRefused;",
      replacement: "error.isUnreachable;",
      why: "a client whose credential was revoked goes on",
    },
    {
      name: "old records after any failure",
      search: "error instanceof LatchkeyUnavailable && error.isUnreachable && !this.#isRefused;",
      replacement: "error instanceof LatchkeyUnavailable && !this.#isRefused;",
      why: "an overloaded service makes revoked keys good",
    },
  ]),
  ...mutantsOf("client/src/lasting-verdicts.ts", LASTING, [
    {
      name: "lasting verdicts: any answer counts",
      search: "return isAbove || basis.trueAtMs > told.toldAtMs;",
      replacement: "return true;",
      why: "a process that is behind lets the stream of a revoked key go on",
    },
    {
      name: "lasting verdicts: no end of the questions",
      search: "watch.cancelLimit = timers.after(leftMs, () => this.#end(watch, tooLate()));",
      replacement: "",
      why: "while the service is unreachable, the stream of a revoked key goes on",
    },
    {
      name: "lasting verdicts: what was told before is not missed",
      search: "if (mayLackChanges) this.#tell(watch, this.#toldNow());",
      replacement: "",
      why: "a change that overtakes the first verdict is never told again",
    },
    {
      name: "lasting verdicts: signing keys are judged once",
      search: "if (this.#bySubject.has(ANY_TOKEN)) this.#deps.timers.after(KEY_SET_LAG_MS, tell);",
      replacement: "",
      why: "a process that is behind lets the stream of a revoked signing key go on",
    },
    {
      name: "lasting verdicts: calls without a bound",
      search: "if (this.#underWay >= MAX_UNDER_WAY) return;",
      replacement: "",
      why: "a resync asks about all streams at once",
    },
    {
      name: "lasting verdicts: streams that ended are kept",
      search: "if (watch.listeners.size === 0) this.#forget(watch);",
      replacement: "",
      why: "raw keys of streams that ended stay in memory, and are asked about",
    },
  ]),
  ...mutantsOf("client/src/key-verdicts.ts", NEAR, [
    {
      name: "old records by default",
      search: "near.staleOkMs === 0 || ",
      replacement: "",
      why: "a user who allowed nothing gets old records",
    },
    {
      name: "no recheck",
      search: "if (judgement.isRecheckDue) this.#recheck(request);",
      replacement: "",
      why: "a key in use looks unused",
    },
  ]),
];
