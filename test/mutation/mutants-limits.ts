import { mutantsOf } from "./tested-mutant.ts";

const CONTRACT = ["test/contract/limit-store.test.ts"];
const LIMITER = [
  "test/limits/limiter.test.ts",
  "test/limits/limiter-after-outage.test.ts",
  "test/limits/full-windows.test.ts",
];

/** Windows here and in Redis, and what decides while Redis is away. */
export const LIMITS_MUTANTS = [
  ...mutantsOf(
    "src/limits/window.ts",
    ["test/limits/window.test.ts"],
    [
      {
        name: "a window of sixty buckets",
        search: "this.#dropBefore(current - BUCKETS_BEFORE);",
        replacement: "this.#dropBefore(current - BUCKETS_BEFORE + 1);",
        why: "twice the limit comes in over a boundary",
      },
      {
        name: "one call more than the limit",
        search: "let excess = this.#total + cost - limit;",
        replacement: "let excess = this.#total + cost - limit - 1;",
        why: "the figure is not the one that was set",
      },
      {
        name: "a cost above the limit waits",
        search: "    if (cost > limit) return undefined;\n",
        replacement: "    if (cost > limit) return this.lengthMs;\n",
        why: "a client tries for ever what never fits",
      },
      {
        name: "later counts forgotten when the clock steps back",
        search: "later += this.#buckets.pop()!.count;",
        replacement: "later += 0 * this.#buckets.pop()!.count;",
        why: "setting the clock back empties every window",
      },
      {
        name: "told to come back a bucket early",
        search: "(bucket.number + BUCKETS_BEFORE + 1) * this.#widthMs",
        replacement: "(bucket.number + BUCKETS_BEFORE) * this.#widthMs",
        why: "who comes back when told to is denied again",
      },
    ],
  ),
  ...mutantsOf("src/limits/memory-limit-store.ts", CONTRACT, [
    {
      name: "denied calls are counted",
      search: "if (allowed && cost > 0) {",
      replacement: "if (cost > 0) {",
      why: "who is denied once and goes on trying is denied for ever",
    },
    {
      name: "what never fits is allowed",
      search: "a === undefined || b === undefined ? undefined : Math.max(a, b)",
      replacement: "Math.max(a ?? 0, b ?? 0)",
      why: "a limit of 0 lets everything in",
    },
    {
      name: "the day not judged",
      search: "return longer(minute, day);",
      replacement: "return longer(minute, 0);",
      why: "the limit of a day is none",
    },
    {
      name: "a reset leaves the subject's own windows",
      search: 'for (const name of ["", ...names])',
      replacement: "for (const name of names)",
      why: "an operator's reset does nothing",
    },
    {
      name: "all limits of a subject in one window",
      search: "return `${name}\\0${subject}`;",
      replacement: "return `\\0${subject}`;",
      why: "a call is counted once for each of its limits",
    },
  ]),
  ...mutantsOf("src/limits/memory-limit-store.ts", LIMITER, [
    {
      name: "windows without a bound",
      search: "this.#kept.size < this.#maxLimits && isInUse",
      replacement: "isInUse",
      why: "whoever makes up subjects fills the memory",
    },
    {
      name: "limits in use forgotten in silence",
      search: "      if (isInUse) this.#onForgotten();\n",
      replacement: "",
      why: "limits no longer limit, and no operator learns of it",
    },
  ]),
  ...mutantsOf("src/redis/limit.lua", CONTRACT, [
    {
      name: "a window of sixty buckets in Redis",
      search: "local oldest = current - BUCKETS_BEFORE\n",
      replacement: "local oldest = current - BUCKETS_BEFORE + 1\n",
      why: "twice the limit comes in over a boundary",
    },
    {
      name: "the short way does not look at the day",
      search: " or (per_day >= 0 and day_total > per_day)",
      replacement: "",
      why: "calls that come quickly pass the limit of the day",
    },
    {
      name: "the short way counts into the bucket before",
      search: "in_minute >= MINUTE_WIDTH or",
      replacement: "in_minute > 2 * MINUTE_WIDTH or",
      why: "counts slide out too early",
    },
    {
      name: "a cost above the limit waits in Redis",
      search: "  if cost > figure then return -1 end\n",
      replacement: "",
      why: "a client tries for ever what never fits",
    },
    {
      name: "the shorter of two waits",
      search: "else wait = max(wait, minute, day) end",
      replacement: "else wait = max(wait, minute) end",
      why: "a full day is not noticed",
    },
    {
      name: "a limit that never allows it forgotten behind another",
      search: "if minute < 0 or day < 0 or wait < 0 then",
      replacement: "if minute < 0 or day < 0 then",
      why: "one limit that has room outweighs one that never will",
    },
    {
      name: "denied calls are counted in Redis",
      search: "finish(limit, allowed and cost > 0, cost)",
      replacement: "finish(limit, cost > 0, cost)",
      why: "who is denied once and goes on trying is denied for ever",
    },
    {
      name: "later counts of Redis stay in the future",
      search: "  if window.newest > current then gather_later(limit, window, current) end\n",
      replacement: "",
      why: "after the clock stepped back buckets are out of order",
    },
    {
      name: "what was gathered is not written",
      search: "if counts or limit.exists and limit.reshaped then write(limit) end",
      replacement: "if counts then write(limit) end",
      why: "what slid out comes back when the clock does",
    },
    {
      name: "days not counted",
      search: "    count(limit, limit.day, cost)\n",
      replacement: "",
      why: "the limit of a day is none",
    },
    {
      name: "told to come back a bucket late",
      search: "if excess <= 0 then return until_gone(number, window) end",
      replacement: "if excess < 0 then return until_gone(number, window) end",
      why: "a call that would be allowed is told to wait",
    },
    {
      name: "a drop forgets what is still in the window",
      search: "window.total - count, window.closed - count, after",
      replacement: "window.total - count - count, window.closed - count, after",
      why: "more is let in than the limit",
    },
  ]),
  ...mutantsOf("src/redis/limit-store.ts", CONTRACT, [
    {
      name: "a limit of 0 is none",
      search: "terms += ` ${perMinute ?? NONE} ${perDay ?? NONE}`;",
      replacement: "terms += ` ${perMinute || NONE} ${perDay || NONE}`;",
      why: "what an operator stopped goes on",
    },
    {
      name: "all limits of a subject in one key",
      search: "return `${KEY_PREFIX}{${digest}}:${name}`;",
      replacement: "return `${KEY_PREFIX}{${digest}}:`;",
      why: "a call is counted once for each of its limits",
    },
  ]),
  ...mutantsOf(
    "src/redis/limit-store.ts",
    ["test/redis/hostile-redis.test.ts"],
    [
      {
        name: "any answer of Redis believed",
        search: " || answer.some((figure) => figure < -1)",
        replacement: "",
        why: "whatever speaks Redis' protocol decides",
      },
    ],
  ),
  ...mutantsOf("src/limits/full-windows.ts", LIMITER, [
    {
      name: "a denial for every cost",
      search: "    denial.cost === request.cost &&\n",
      replacement: "",
      why: "a smaller call that has room is denied",
    },
    {
      name: "a denial for every name",
      search: "a.name === b.name && ",
      replacement: "",
      why: "a full limit denies what is under another",
    },
    {
      name: "denials believed for a minute",
      search: "const BELIEVED_MS = 5_000;",
      replacement: "const BELIEVED_MS = 60_000;",
      why: "an operator's reset reaches other processes a minute later",
    },
  ]),
  ...mutantsOf("src/limits/limiter.ts", LIMITER, [
    {
      name: "what was admitted without the store stays unknown to it",
      search: 'void part.tell(untold).then((told) => told === "not counted" && this.#share.keepUntold(untold));',
      replacement: "void untold;",
      why: "one process admits 3 L in a minute in which Redis restarts empty",
    },
    {
      name: "what may be counted is told again",
      search: 'return this.#share.decide(judged, answer === "not counted");',
      replacement: "return this.#share.decide(judged, true);",
      why: "a Redis that was only slow counts each call twice",
    },
    {
      name: "a reset leaves what is known of the subject",
      search: "    this.#full.forget(subject);\n",
      replacement: "",
      why: "who was just reset is still denied",
    },
  ]),
  ...mutantsOf("src/limits/local-share.ts", LIMITER, [
    {
      name: "shares rounded down",
      search: "Math.ceil(figure / this.#processes)",
      replacement: "Math.floor(figure / this.#processes)",
      why: "an outage of Redis denies everybody with a small limit",
    },
    {
      name: "a share is not degraded",
      search: "degraded: true,",
      replacement: "degraded: false,",
      why: "nobody learns that the figures are this process' own",
    },
  ]),
  ...mutantsOf("src/limits/untold-counts.ts", LIMITER, [
    {
      name: "what is to be told has no bound",
      search: "    if (this.#size < MAX_LIMITS) return;\n",
      replacement: "    return;\n",
      why: "a subject with ever new names fills the memory in an outage",
    },
  ]),
  ...mutantsOf("src/limits/breaker.ts", LIMITER, [
    {
      name: "four failures in a row",
      search: "const FAILURES_IN_A_ROW = 3;",
      replacement: "const FAILURES_IN_A_ROW = 4;",
      why: "callers wait for a store that is away longer than promised",
    },
    {
      name: "a success does not end the row",
      search: "failed ? this.#inARow + 1 : 0",
      replacement: "failed ? this.#inARow + 1 : this.#inARow",
      why: "three failures of a day cut the store off",
    },
    {
      name: "failures remembered after it closed",
      search: "    this.#inARow = 0;\n    this.#failed = [];\n",
      replacement: "    this.#inARow = 0;\n",
      why: "one failure after an outage is the next outage",
    },
  ]),
  ...mutantsOf("src/limits/store-part.ts", LIMITER, [
    {
      name: "half a second of silence",
      search: "const SILENCE_MS = 50;",
      replacement: "const SILENCE_MS = 500;",
      why: "every call waits that long when Redis freezes",
    },
    {
      name: "what is told speaks for the part",
      search: "if (isAsked) this.#breaker.record(false);",
      replacement: "this.#breaker.record(false);",
      why: "a part that refuses callers stays in use",
    },
    {
      name: "what is told speaks against the part",
      search: "if (isAsked && this.#breaker.record(true))",
      replacement: "if (this.#breaker.record(true))",
      why: "what nobody waits for takes the store from those who do",
    },
    {
      name: "groups of any size",
      search: "const MAX_GROUP = 128;",
      replacement: "const MAX_GROUP = 1280;",
      why: "one process keeps Redis from serving the others",
    },
    {
      name: "what can't be decided together goes together",
      search: "this.#deps.store.groupOf(request.subject)",
      replacement: '""',
      why: "one slot of a cluster that is being moved degrades all subjects of its node",
    },
  ]),
];
