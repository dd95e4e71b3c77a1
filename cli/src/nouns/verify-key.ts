import type { Duration } from "@bufbuild/protobuf/wkt";
import { type RateLimitStatus, VerdictSchema, VerifyKeyResponseSchema } from "@latchkey/client/contract";
import { EXIT } from "../exit-codes.ts";
import { count, list, text } from "../flags.ts";
import { keyFields, windowTable } from "../key-view.ts";
import { enumName, type Fields, jsonOf } from "../result.ts";
import { lengthText, moment, msOf } from "../times.ts";
import { verb } from "../verb.ts";

/** Judges a key as a service would, and counts the call. */
export const verifyKey = verb({
  name: "verify",
  about: "Judge a key, which is read from standard input, and count the call",
  more: "A refused key ends with exit code 1. On a terminal, the key is asked for without echo.",
  examples: ["keys verify --scopes orders:read < key.txt", "printenv API_KEY | latchkey keys verify --cost 0"],
  flags: {
    scopes: list("A,B", "scopes that the key must have"),
    tiers: list("A,B", "tiers of which the key must have one"),
    cost: count("the cost of the call; 1. 0 counts nothing"),
    clientIp: text("ADDRESS", "the address that the call came from"),
    method: text("METHOD", 'the method that the call is for, such as "GET /orders"'),
    environment: text("NAME", "the environment that the key must be of", ["live", "test"]),
  },
  async run(invocation, { flags: { scopes = [], tiers = [], cost, clientIp = "", method = "", environment = "" } }) {
    const apiKey = (await invocation.secret("API key")).trim();
    const where = { clientIp, method, environment };
    const request = {
      apiKey,
      requiredScopes: scopes,
      allowedTiers: tiers,
      ...where,
      ...(cost !== undefined && { cost }),
    };
    const response = await invocation.keys.verifyKey(request, invocation.call);
    const { valid, verdict, key, rateLimits, retryAfter, degraded, secretExpireTime } = response;
    const { nowMs } = invocation;
    return {
      kind: "answer",
      json: jsonOf(VerifyKeyResponseSchema, response),
      quiet: key?.id,
      title: { text: enumName(VerdictSchema, verdict), style: valid ? "good" : "bad" },
      fields: [
        ...waitFields(retryAfter, degraded, rateLimits),
        ["this secret ends", moment(nowMs, secretExpireTime, "")],
        ...(key === undefined ? [] : keyFields(key, nowMs).filter(([label]) => label !== "last used")),
      ],
      tables: windowTable(rateLimits),
      exitCode: valid ? EXIT.OK : EXIT.FAILED,
    };
  },
});

/** The fields that tell whether to wait, and how the call was counted. */
export function waitFields(
  retryAfter: Duration | undefined,
  degraded: boolean,
  windows: readonly RateLimitStatus[],
): Fields {
  const isUsedUp = windows.some(({ limit }) => limit === 0);
  return [
    ["try again in", retryAfter === undefined ? "" : lengthText(msOf(retryAfter))],
    ["waiting", isUsedUp ? "never helps: a limit is 0" : ""],
    ["counted", degraded ? "by one process alone, because the shared counters are unreachable" : ""],
  ];
}
