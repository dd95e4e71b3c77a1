import { type Decision, type Denial, denial, type Refusal, type WindowState } from "../answers/decision.ts";
import { type HeaderValues, presentedKey, presentedToken } from "../answers/presented-credential.ts";
import { clientAddress, httpMethod } from "../answers/request-facts.ts";
import { VERDICT_NAMES } from "../keys/judge-key.ts";
import type { KeyRecord } from "../keys/key-records.ts";
import type { KeyVerdict } from "../keys/verdict.ts";
import type { VerdictObserver } from "../keys/verdict-counts.ts";
import { type VerifyKeyDeps, verifyKey } from "../keys/verify-key.ts";
import { DomainError } from "../lib/errors.ts";
import type { WindowStatus } from "../limits/limit.ts";
import type { CheckedRequest } from "./checked-request.ts";
import type { Accepted, RouteSettings } from "./route-settings.ts";

export interface JudgementDeps extends VerifyKeyDeps {
  /** Counts the verdicts. Absent: nothing does. */
  readonly verdicts?: VerdictObserver;
  /**
   * Finds the person whose access token it is.
   *
   * @throws CREDENTIAL_INVALID for a token that is not good; another reason if that can't be known
   */
  authenticateUser(accessToken: string): Promise<{ readonly userId: string }>;
}

/** A decision about a request, and who sent it. */
export interface Judged {
  readonly decision: Decision;
  /** The key of an admitted request. */
  readonly key?: KeyRecord | undefined;
  /** The person of an admitted request. */
  readonly userId?: string | undefined;
}

/** The credential of a request, and how it is to be judged. */
type Presented = { readonly kind: "key" | "user"; readonly text: string } | { readonly refused: Refusal };

/**
 * Judges a request by its credential and by what its route asks for. Returns no promise for a key whose record and
 * limits are in memory.
 *
 * @param service the id of the credential of the proxy that asks
 * @throws DATABASE_UNAVAILABLE, MASTER_KEY_MISSING: there is no decision; also as a rejection
 */
export function judgeRequest(
  deps: JudgementDeps,
  request: CheckedRequest,
  settings: RouteSettings,
  service?: string,
): Judged | Promise<Judged> {
  const presented = presentedCredential(settings.accept, (name) => request.values(name));
  if ("refused" in presented) return { decision: denial(presented.refused) };
  if (presented.kind === "user") return judgeUser(deps, presented.text);
  const verdict = verifyKey(deps, {
    rawKey: presented.text,
    requiredScopes: settings.scopes,
    allowedTiers: settings.tiers,
    cost: settings.cost,
    limits: settings.limits,
    environment: settings.environment,
    clientIp: addressOf(request, settings.addressHeader) ?? "",
    method: methodOf(request) ?? "",
  });
  const judged = (one: KeyVerdict) => {
    deps.verdicts?.verdictGiven(one.verdict, service);
    return judgedKey(one, settings);
  };
  return verdict instanceof Promise ? verdict.then(judged) : judged(verdict);
}

/** Whether a gRPC client sent the request: it reads the answer's `grpc-status`. */
export function isGrpc(request: CheckedRequest): boolean {
  return request.values("content-type").some((type) => /^application\/grpc/i.test(type));
}

/**
 * Finds the credential of a request. A text in `Authorization` with a dot is a token, because keys have no dots and
 * tokens have two.
 */
function presentedCredential(accept: Accepted, values: HeaderValues): Presented {
  const presented = accept === "user" ? presentedToken(values) : presentedKey(values);
  if (presented.kind === "none") return { refused: "CREDENTIAL_MISSING" };
  if (presented.kind === "ambiguous") return { refused: "CREDENTIAL_AMBIGUOUS" };
  const { text } = presented;
  if (accept !== "either") return { kind: accept, text };
  const isToken = text.includes(".") && presentedToken(values).kind === "one";
  return { kind: isToken ? "user" : "key", text };
}

/**
 * The sender's address. Behind another proxy it is what the route's header says. A header that is missing, or there
 * twice, gives no address: then a key with an allow-list of networks is refused.
 */
function addressOf(request: CheckedRequest, header: string | undefined): string | undefined {
  if (header === undefined) return clientAddress(request.peerAddress);
  const values = request.values(header);
  return values.length === 1 ? clientAddress(values[0]!.trim()) : undefined;
}

/** `VERB /path`, or `/package.Service/Method` for gRPC, as keys' allow-lists of methods have it. */
function methodOf(request: CheckedRequest): string | undefined {
  const method = httpMethod(request.verb, request.path);
  return request.verb === "POST" && isGrpc(request) ? method?.slice("POST ".length) : method;
}

function judgedKey({ verdict, record, windows, retryAfterMs }: KeyVerdict, { scopes }: RouteSettings): Judged {
  const states = windows.map(windowState);
  if (verdict === "valid") return { decision: { admitted: true, windows: states }, key: record };
  const refused: Denial = {
    admitted: false,
    code: VERDICT_NAMES[verdict],
    windows: states,
    retryAfterMs,
    requiredScopes: scopes,
  };
  return { decision: refused };
}

async function judgeUser(deps: JudgementDeps, accessToken: string): Promise<Judged> {
  try {
    const { userId } = await deps.authenticateUser(accessToken);
    return { decision: { admitted: true, windows: [] }, userId };
  } catch (error) {
    if (error instanceof DomainError && error.reason === "CREDENTIAL_INVALID")
      return { decision: denial("TOKEN_INVALID") };
    throw error;
  }
}

function windowState({ name, lengthMs, limit, remaining, resetAfterMs }: WindowStatus): WindowState {
  return { name, windowMs: lengthMs, limit, remaining, resetAfterMs };
}
