import { mutantsOf } from "./tested-mutant.ts";

const CONTRACT = ["test/contract/limit-store.test.ts"];

/** Windows in Redis, and what of its replies is believed. */
export const REDIS_MUTANTS = [
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
      name: "a call that has happened is refused at the limit by Redis",
      search: "local needed = max(0, terms[1])",
      replacement: "local needed = abs(terms[1])",
      why: "the calls that a client admitted itself are not counted",
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
      name: "a run is counted although one of it is denied",
      search: "    run.allowed = false\n",
      replacement: "    run.allowed = run.allowed and true\n",
      why: "a request that a proxy refuses uses up the other limits",
    },
    {
      name: "a subject that occurs twice in a run is judged once",
      search: "local wanted = needed > 0 and needed + limit.pending or 0",
      replacement: "local wanted = needed",
      why: "two descriptors of one subject admit more than its limit",
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
  ...mutantsOf(
    "src/redis/reply-guard.ts",
    ["test/redis/reply-guard.test.ts"],
    [
      {
        name: "lists of any length",
        search: '      if (this.#entries > this.#bounds.entries) return "REPLY_TOO_LARGE";\n',
        replacement: "",
        why: "twelve bytes of Redis take a gigabyte",
      },
      {
        name: "entries counted for each list",
        search: "this.#entries += length;",
        replacement: "this.#entries = length;",
        why: "lists within lists take a gigabyte",
      },
      {
        name: "texts of any length",
        search: '      if (this.#bytes + this.#bulkBytes > this.#bounds.bytes) return "REPLY_TOO_LARGE";\n',
        replacement: "",
        why: "what is begun is taken until the bytes themselves are too many",
      },
      {
        name: "replies that nothing asked for",
        search: '        if (this.#expected === 0) return "REPLY_UNASKED";\n',
        replacement: "",
        why: "the client ends the process at one that is null",
      },
    ],
  ),
];
