/**
 * RATE LIMITS FOR ENVOY: `envoy.service.ratelimit.v3`. A request has descriptors. Each becomes a subject with limits,
 * and the limiter decides all of them together.
 *
 *   rate-limit-service.ts      the handler: from descriptors to requests to the limiter
 *   rate-limit-message.ts      reads the message, also if a text is no UTF-8
 *   rate-limit-descriptors.ts  what a request may say, and the name of a descriptor's subject
 *   rate-limit-rules.ts        the limits of the file, and which of them a descriptor gets
 *   rate-limit-file.ts         reads the file at the start and at SIGHUP
 *   rate-limit-answer.ts       from decisions to Envoy's answer
 */
import type { KeyRecords } from "../keys/key-records.ts";
import { keySubject, namedSubject, ownLimit } from "../keys/limit-requests.ts";
import { isId } from "../lib/id.ts";
import type { Limiter, LimitFigures, LimitRequest, NamedLimit } from "../limits/limit.ts";
import { rateLimitAnswer } from "./rate-limit-answer.ts";
import { type Descriptor, readDescriptors, subjectName } from "./rate-limit-descriptors.ts";
import type { RateLimitFile } from "./rate-limit-file.ts";
import type { AskedLimits } from "./rate-limit-message.ts";
import { figuresOf, type RateLimitRules } from "./rate-limit-rules.ts";

export interface RateLimitDeps {
  readonly records: Pick<KeyRecords, "findLimitsOfAll">;
  readonly limiter: Pick<Limiter, "decideTogether">;
  readonly rateLimits: Pick<RateLimitFile, "rules">;
}

/** The name of a limit that a descriptor brings or the file gives, in the answers of CheckRateLimit too. */
export const LIMIT_NAME = "envoy";

/** The own limit of an id without a key: nothing. */
const NOTHING: LimitFigures = Object.freeze({ perMinute: 0, perDay: undefined });

/**
 * The handler of Envoy's rate limit service. Each descriptor is a subject:
 *
 * - `("key", id)` is the key, with its own limits. The windows are those of VerifyKey and of CheckRateLimit. An id
 *   without a key is over its limit: an error would let Envoy decide, and a forged id must not be without limits.
 * - Any other descriptor is a name in its domain, with the limit that the request brings, else with the file's. The
 *   windows are those of CheckRateLimit with `subjectName` and a limit called `envoy`. Without a limit it is OK.
 *
 * All descriptors of a request are counted together, or none is (`Limiter.decideTogether`).
 *
 * Throws INVALID_FIELD, and DATABASE_UNAVAILABLE if the limits of a key are not in memory and can't be read. An
 * unreachable Redis is no error.
 */
export function rateLimitHandlers(deps: RateLimitDeps) {
  return {
    async shouldRateLimit(request: AskedLimits) {
      const descriptors = readDescriptors(request);
      const figures = await figuresOfKeys(deps, descriptors);
      const { rules } = deps.rateLimits;
      const asked = descriptors.map((one) =>
        one.keyId === undefined
          ? namedRequest(rules, request.domain, one)
          : keyRequest(one.keyId, one, figures.get(one.keyId)),
      );
      return rateLimitAnswer(asked, await deps.limiter.decideTogether(asked));
    },
  };
}

/** The own limits of the keys that descriptors name. An unknown id has none. @throws DATABASE_UNAVAILABLE */
async function figuresOfKeys({ records }: RateLimitDeps, descriptors: readonly Descriptor[]) {
  const ids = descriptors.flatMap(({ keyId }) => (keyId !== undefined && isId("key", keyId) ? [keyId] : []));
  const keyIds = [...new Set(ids)];
  const loads = keyIds.length === 0 ? [] : await records.findLimitsOfAll(keyIds);
  const figures = new Map<string, LimitFigures | undefined>();
  for (const [at, load] of loads.entries()) {
    if (load.status === "rejected") throw load.reason;
    figures.set(keyIds[at]!, load.value);
  }
  return figures;
}

function keyRequest(keyId: string, { cost, override }: Descriptor, figures: LimitFigures | undefined): LimitRequest {
  // A text that is no id may be of any length, and nothing is ever counted for it.
  if (figures === undefined) return { subject: keySubject(""), cost, limits: [ownLimit(NOTHING)] };
  return { subject: keySubject(keyId), cost, limits: [ownLimit(figures), ...named(override)] };
}

function namedRequest(rules: RateLimitRules, domain: string, { entries, cost, override }: Descriptor): LimitRequest {
  const subject = namedSubject(subjectName(domain, entries));
  return { subject, cost, limits: named(override ?? figuresOf(rules, domain, entries)) };
}

function named(figures: LimitFigures | undefined): readonly NamedLimit[] {
  return figures === undefined ? [] : [{ name: LIMIT_NAME, ...figures }];
}
