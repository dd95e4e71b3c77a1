import { mutantsOf } from "./tested-mutant.ts";

const CONTRACT = ["test/contract/limit-store.test.ts"];
const LIMITER = [
  "test/limits/limiter.test.ts",
  "test/limits/limiter-after-outage.test.ts",
  "test/limits/full-windows.test.ts",
];
const TOGETHER = ["test/limits/limiter-together.test.ts"];

/** Windows in this process, and what decides while Redis is unreachable. */
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
        name: "totals of any size",
        search: "Math.min(wanted, MAX_TOTAL - this.#total)",
        replacement: "wanted",
        why: "false reports make the sums inexact, and a window never becomes empty again",
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
      name: "a run is counted although one of it is denied, in memory",
      search: "judged.every(({ waitMs }) => waitMs === 0)",
      replacement: "judged.some(({ waitMs }) => waitMs === 0)",
      why: "a request that a proxy refuses uses up the other limits",
    },
    {
      name: "a subject that occurs twice in a run is judged once, in memory",
      search: "const cost = needed + pending;",
      replacement: "const cost = needed + 0 * pending;",
      why: "two descriptors of one subject admit more than its limit",
    },
    {
      name: "a call that has happened is refused at the limit",
      search: "const needed = admitted ? 0 : cost;",
      replacement: "const needed = cost;",
      why: "the calls that a client admitted itself are not counted",
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
      search: 'return this.#decideAlone([judged], answer === "not counted")[0]!;',
      replacement: "return this.#decideAlone([judged], true)[0]!;",
      why: "a Redis that was only slow counts each call twice",
    },
    {
      name: "a remembered denial answers a call that has happened",
      search: "judged.admitted ? undefined : this.#full.find",
      replacement: "this.#full.find",
      why: "the count of a call that a client admitted itself is lost",
    },
    {
      name: "a reset leaves what is known of the subject",
      search: "    this.#full.forget(subject);\n  }\n\n  forget(",
      replacement: "  }\n\n  forget(",
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
  ...mutantsOf("src/limits/limiter.ts", TOGETHER, [
    {
      name: "requests in different places are a run",
      search: "requests.every((request) => placeOf(request) === placeOf(requests[0]!))",
      replacement: 'requests.every((request) => placeOf(request) !== "")',
      why: "a Redis Cluster refuses a script that touches two slots",
    },
  ]),
  ...mutantsOf("src/limits/store-part.ts", TOGETHER, [
    {
      name: "a run is divided between two groups",
      search: "const end = endOfRun(group, at + MAX_GROUP);",
      replacement: "const end = at + MAX_GROUP;",
      why: "one half is counted, and the other one is denied",
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
      why: "requests that no caller waits for take the store from the callers",
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
