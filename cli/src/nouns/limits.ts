import { CheckRateLimitResponseSchema, ResetRateLimitsResponseSchema } from "@latchkey/client/contract";
import { EXIT } from "../exit-codes.ts";
import { usage } from "../faults.ts";
import { count, text } from "../flags.ts";
import { windowTable } from "../key-view.ts";
import { jsonOf } from "../result.ts";
import { type Noun, verb } from "../verb.ts";
import { waitFields } from "./verify-key.ts";

const check = verb({
  name: "check",
  about: "Count a call against the limits of a key, or of any other subject",
  more: "A call that does not fit ends with exit code 1, and is not counted. With --cost 0 the limits are only read.",
  examples: [
    "limits check key_AbCd1234AbCd1234 --cost 0",
    "limits check --name 203.0.113.7 --limit logins --per-minute 10",
  ],
  args: [{ name: "KEY_ID", about: "a key, whose own limits apply too", isOptional: true }],
  flags: {
    name: text("SUBJECT", "any other subject, such as an address"),
    limit: text("NAME", "the name of a further limit, with --per-minute or --per-day"),
    perMinute: count("what that limit allows in any minute"),
    perDay: count("what that limit allows in any day"),
    cost: count("the cost of the call; 1. 0 counts nothing"),
  },
  async run({ keys, call }, { args: [keyId], flags: { name, limit, perMinute, perDay, cost } }) {
    if ((keyId === undefined) === (name === undefined)) throw usage("give either KEY_ID or --name");
    const hasFigures = perMinute !== undefined || perDay !== undefined;
    if ((limit === undefined) === hasFigures) throw usage("--limit goes with --per-minute, --per-day or both");
    const subject =
      keyId === undefined ? { case: "name" as const, value: name! } : { case: "keyId" as const, value: keyId };
    const limits = limit === undefined ? [] : [{ name: limit, perMinute, perDay }];
    const response = await keys.checkRateLimit({ subject, limits, ...(cost !== undefined && { cost }) }, call);
    const { allowed, rateLimits, retryAfter, degraded } = response;
    return {
      kind: "answer",
      json: jsonOf(CheckRateLimitResponseSchema, response),
      title: allowed ? { text: "ALLOWED", style: "good" } : { text: "LIMITED", style: "bad" },
      fields: waitFields(retryAfter, degraded, rateLimits),
      tables: windowTable(rateLimits),
      exitCode: allowed ? EXIT.OK : EXIT.FAILED,
    };
  },
});

const reset = verb({
  name: "reset",
  about: "Empty the windows of a key's own limits",
  examples: ["limits reset key_AbCd1234AbCd1234"],
  args: [{ name: "KEY_ID", about: "the key's id" }],
  flags: {},
  async run({ admin, call }, { args: [keyId] }) {
    const response = await admin.resetRateLimits({ keyId: keyId! }, call);
    const json = jsonOf(ResetRateLimitsResponseSchema, response);
    return { kind: "answer", json, quiet: keyId, title: `the limits of ${keyId} are full again` };
  },
});

/** Rate limits. */
export const limits: Noun = { name: "limits", about: "Rate limits", verbs: [check, reset] };
