import { createHash } from "node:crypto";
import { type Decision, type Denial, denial, type Refusal } from "../../src/answers/decision.ts";
import { type HeaderValues, presentedKey, presentedToken } from "../../src/answers/presented-credential.ts";
import { clientAddress } from "../../src/answers/request-facts.ts";
import type { VerifiedUser } from "./access-tokens.ts";
import { LatchkeyCredentialError, LatchkeyRequestError, LatchkeyUnavailable } from "./errors.ts";
import type { Latchkey } from "./latchkey-interface.ts";
import type { NamedLimit, RateLimitWindow, Verdict, VerifiedKey, VerifyRequest } from "./verdict.ts";

/** The part of a client that the middleware uses. */
export type Protector = Pick<
  Latchkey,
  "verify" | "checkRateLimit" | "verifyAccessToken" | "watchKey" | "watchAccessToken"
>;

/** The facts that a framework has about a request. */
export interface RequestFacts {
  readonly values: HeaderValues;
  /** The sender's address, as the framework gives it: trust in proxies is the framework's own setting. */
  readonly address: string | undefined;
  /** The method that keys are judged by; undefined if no rule can match it. */
  readonly method: string | undefined;
}

/** The facts that the middleware found about a request. Several guards on one route add to each other. */
export interface Found {
  /** The key, after requireApiKey. */
  readonly key?: VerifiedKey;
  /** The whole verdict, after requireApiKey. */
  readonly verdict?: Verdict;
  /** The person, after requireUser. */
  readonly user?: VerifiedUser;
  /** The windows that the request was counted in. */
  readonly rateLimits: readonly RateLimitWindow[];
}

export interface Guarded {
  readonly decision: Decision;
  /** The facts of this guard and of earlier ones. */
  readonly found: Found;
  /** Of an admitted request with a credential. It has the raw credential, so keep it only for a stream. */
  readonly watch?: Watch;
}

/**
 * Tells a stream when it must end, because its credential is refused or can't be judged again.
 *
 * @returns a function to call at the stream's own end
 */
export type Watch = (onEnd: (denial: Denial) => void) => () => void;

/** Decides about one request. */
export type Guard<R> = (request: R, facts: RequestFacts, earlier: Found | undefined) => Promise<Guarded>;

/** A value, or a function of the request that gives it. */
export type ByRequest<R, T> = T | ((request: R) => T | Promise<T>);

/** The needs of a route, made for one request. */
export interface KeyNeeds {
  readonly scopes?: readonly string[] | undefined;
  readonly tiers?: readonly string[] | undefined;
  readonly cost?: number | undefined;
  readonly limits?: readonly NamedLimit[] | undefined;
  readonly method?: string | undefined;
  readonly environment?: string | undefined;
}

export interface SubjectNeeds {
  readonly subject: string;
  readonly limit: NamedLimit;
  readonly cost?: number | undefined;
}

/** Judges the API key of a request. */
export async function protectByKey(
  latchkey: Protector,
  facts: RequestFacts,
  needs: KeyNeeds,
  earlier?: Found,
): Promise<Guarded> {
  const presented = presentedKey(facts.values);
  if (presented.kind === "none") return refuse("CREDENTIAL_MISSING", earlier);
  if (presented.kind === "ambiguous") return refuse("CREDENTIAL_AMBIGUOUS", earlier);
  return orUndecided(earlier, async () => {
    const request: VerifyRequest = {
      apiKey: presented.text,
      requiredScopes: needs.scopes,
      allowedTiers: needs.tiers,
      cost: needs.cost,
      limits: needs.limits,
      environment: needs.environment,
      clientIp: clientAddress(facts.address),
      method: needs.method ?? facts.method,
    };
    const verdict = await latchkey.verify(request);
    const rateLimits = together(earlier, verdict.rateLimits);
    if (verdict.valid && verdict.key !== undefined) {
      const watch: Watch = (onEnd) =>
        latchkey.watchKey(request, verdict, (end) =>
          onEnd(end instanceof LatchkeyUnavailable ? noVerdict(end) : keyDenial(end, needs, [])),
        );
      return { ...admit({ ...earlier, key: verdict.key, verdict, rateLimits }), watch };
    }
    return { decision: keyDenial(verdict, needs, rateLimits), found: { ...earlier, rateLimits } };
  });
}

function keyDenial(verdict: Verdict, needs: KeyNeeds, windows: readonly RateLimitWindow[]): Denial {
  const code: Refusal = verdict.verdict === "VALID" ? "UNKNOWN" : verdict.verdict;
  return { admitted: false, code, windows, retryAfterMs: verdict.retryAfterMs, requiredScopes: needs.scopes };
}

function noVerdict({ retryAfterMs }: LatchkeyUnavailable): Denial {
  return { ...denial("UNAVAILABLE"), retryAfterMs };
}

/** Counts a request against the limit of a subject that is no key. */
export async function protectByLimit(latchkey: Protector, needs: SubjectNeeds, earlier?: Found): Promise<Guarded> {
  return orUndecided(earlier, async () => {
    const { cost } = needs;
    const verdict = await latchkey.checkRateLimit({ name: subjectText(needs.subject), limits: [needs.limit], cost });
    const found = { ...earlier, rateLimits: together(earlier, verdict.rateLimits) };
    if (verdict.allowed) return admit(found);
    const { retryAfterMs } = verdict;
    return { decision: { admitted: false, code: "RATE_LIMITED", windows: found.rateLimits, retryAfterMs }, found };
  });
}

/** Verifies the access token of a request. */
export async function protectByUser(latchkey: Protector, facts: RequestFacts, earlier?: Found): Promise<Guarded> {
  const presented = presentedToken(facts.values);
  if (presented.kind === "none") return refuse("CREDENTIAL_MISSING", earlier);
  if (presented.kind === "ambiguous") return refuse("CREDENTIAL_AMBIGUOUS", earlier);
  return orUndecided(earlier, async () => {
    const verdict = await latchkey.verifyAccessToken(presented.text);
    if (!verdict.valid) return refuse("TOKEN_INVALID", earlier);
    const { userId, sessionId, expiresAt } = verdict;
    const user = { userId, sessionId, expiresAt };
    const watch: Watch = (onEnd) =>
      latchkey.watchAccessToken(presented.text, user, (end) =>
        onEnd(end instanceof LatchkeyUnavailable ? noVerdict(end) : denial("TOKEN_INVALID")),
      );
    return { ...admit({ ...earlier, user, rateLimits: together(earlier, []) }), watch };
  });
}

/** Without an answer of the service there is no decision. A fault of the route's own options is not the caller's. */
async function orUndecided(earlier: Found | undefined, decide: () => Promise<Guarded>): Promise<Guarded> {
  try {
    return await decide();
  } catch (error) {
    if (error instanceof LatchkeyUnavailable) return refuse("UNAVAILABLE", earlier, error.retryAfterMs);
    if (error instanceof LatchkeyCredentialError) return refuse("UNAVAILABLE", earlier, CREDENTIAL_RETRY_MS);
    if (!(error instanceof LatchkeyRequestError)) throw error;
    // Without this line, only callers would notice a misspelt scope or limit.
    process.emitWarning(error.message, { type: "LatchkeyWarning", code: "LATCHKEY_CONFIGURATION" });
    return refuse("CONFIGURATION", earlier);
  }
}

/** An operator has to mend it, so callers need not come back at once. */
const CREDENTIAL_RETRY_MS = 5000;

function admit(found: Found): Guarded {
  return { decision: { admitted: true, windows: found.rateLimits }, found: Object.freeze(found) };
}

function refuse(code: Refusal, earlier: Found | undefined, retryAfterMs?: number): Guarded {
  const found = { ...earlier, rateLimits: together(earlier, []) };
  return { decision: { ...denial(code), windows: found.rateLimits, retryAfterMs }, found };
}

function together(earlier: Found | undefined, windows: readonly RateLimitWindow[]): readonly RateLimitWindow[] {
  return [...(earlier?.rateLimits ?? []), ...windows];
}

/** Plain texts that the service takes as they are. */
const PLAIN = /^[\x21-\x7e]{1,256}$/;

/** Other texts come from callers, too: they are counted by their digest, so that none is refused. */
function subjectText(subject: string): string {
  return PLAIN.test(subject) ? subject : `sha256:${createHash("sha256").update(subject).digest("hex")}`;
}
