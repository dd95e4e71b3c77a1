import { DomainError } from "../../lib/errors.ts";
import type { Limiter, LimitRequest } from "../../limits/limit.ts";
import type { Caller } from "../call.ts";

export interface ChangeRateOptions {
  readonly limiter: Pick<Limiter, "decide">;
  /**
   * Maximum calls that change something, of one session in any minute. All sessions of a user may make twice as many.
   */
  readonly changesPerMinute: number;
  /** The same maximum for one service credential. */
  readonly serviceChangesPerMinute: number;
}

/**
 * The rate limit of changes: a maximum of calls that change something for each caller in any minute, of all methods
 * together. Each change is an event on the audit trail, which is kept for months. Without a limit, one user could fill
 * the disk.
 *
 * A session may make half of its user's changes, so that the holder of a stolen access token can't keep the user from
 * changing the password. The limiter keeps the windows. Processes that share a Redis share them; other processes count
 * alone.
 */
export class ChangeRate {
  readonly #options: ChangeRateOptions;

  constructor(options: ChangeRateOptions) {
    this.#options = options;
  }

  /** Counts one call. @throws TOO_MANY_CHANGES, or the promise rejects with it */
  admit(caller: Caller): void | Promise<void> {
    const request = this.#requestOf(caller);
    if (request === undefined) return;
    const decision = this.#options.limiter.decide(request);
    if (decision instanceof Promise) return decision.then(judge);
    judge(decision);
  }

  #requestOf(caller: Caller): LimitRequest | undefined {
    const { changesPerMinute, serviceChangesPerMinute } = this.#options;
    switch (caller.kind) {
      case "anonymous":
        return undefined;
      case "user":
        return requestOf(caller.userId, [
          { name: "", perMinute: 2 * changesPerMinute },
          { name: caller.sessionId, perMinute: changesPerMinute },
        ]);
      case "service":
        return requestOf(caller.credentialId, [{ name: "", perMinute: serviceChangesPerMinute }]);
      default:
        return caller satisfies never;
    }
  }
}

/**
 * A request to the limiter for one change. No subject of keys or of calling services begins with `changes:`
 * (keys/limit-requests.ts).
 */
function requestOf(
  callerId: string,
  limits: readonly { readonly name: string; readonly perMinute: number }[],
): LimitRequest {
  return { subject: `changes:${callerId}`, cost: 1, limits: limits.map((limit) => ({ ...limit, perDay: undefined })) };
}

function judge({
  allowed,
  retryAfterMs,
}: {
  readonly allowed: boolean;
  readonly retryAfterMs: number | undefined;
}): void {
  if (allowed) return;
  throw new DomainError("TOO_MANY_CHANGES", "too many changes in a minute; try again later", { retryAfterMs });
}
