import { setTimeout as pause } from "node:timers/promises";
import { Code, ConnectError, type ContextValues, createContextKey, type Transport } from "@connectrpc/connect";
import type { Credential } from "./credential.ts";
import { LatchkeyUnavailable } from "./errors.ts";
import { isSurelyNotJudged } from "./not-judged.ts";

export interface ServiceTransportDeps {
  readonly inner: Transport;
  readonly credential: Credential;
  /** @throws LatchkeyUnavailable once the client is closed: a call would connect again */
  readonly checkOpen: () => void;
  /** Called for each attempt after the first. */
  readonly onRetry: () => void;
}

/** Set for calls that count nothing: they are tried again after any failure of the way to the service. */
export const countsNothing = createContextKey(false, { description: "the call counts nothing" });

/** Time for a call of the generated clients that names none. Passwords and management take longer than a verdict. */
export const DEFAULT_DEADLINE_MS = 10_000;
const MAX_ATTEMPTS = 4;
/** The pause before the second attempt is up to this, and doubles with each further attempt (full jitter). */
const FIRST_PAUSE_MS = 25;
/** Failures of the way to the service, not of the request. */
const PASSING: ReadonlySet<Code> = new Set([Code.Unavailable, Code.Aborted, Code.Internal, Code.Unknown]);

/**
 * A transport that adds this client's credential and retries. A unary call is tried again, within its deadline:
 *
 * - if the service surely did not judge it (see not-judged.ts);
 * - if it counts nothing and the way to the service failed;
 * - once if the service refused the credential and there is another, because then nothing was judged either.
 *
 * Everything else is the caller's to decide. A call with an `authorization` of its own keeps it. Streams get the
 * credential and are never tried again.
 */
export function serviceTransport(deps: ServiceTransportDeps): Transport {
  const { inner, credential } = deps;
  return {
    async unary(method, signal, timeoutMs = DEFAULT_DEADLINE_MS, header, input, contextValues) {
      deps.checkOpen();
      const endMs = performance.now() + timeoutMs;
      const own = new Headers(header).has("authorization");
      let text = own ? undefined : await within(endMs, credential.current());
      let renewed = false;
      for (let attempt = 1; ; attempt++) {
        try {
          return await inner.unary(method, signal, leftUntil(endMs), withText(header, text), input, contextValues);
        } catch (error) {
          if (text !== undefined && !renewed && isUnauthenticated(error)) {
            renewed = true;
            text = await within(endMs, credential.after(text));
            if (text === undefined) throw error;
          } else {
            if (attempt >= MAX_ATTEMPTS || signal?.aborted || !mayRetry(error, contextValues)) throw error;
            const pauseMs = jitter(FIRST_PAUSE_MS * 2 ** (attempt - 1));
            if (performance.now() + pauseMs >= endMs) throw error;
            await pause(pauseMs);
          }
          deps.onRetry();
        }
      }
    },
    async stream(method, signal, timeoutMs, header, input, contextValues) {
      deps.checkOpen();
      const own = new Headers(header).has("authorization");
      const text = own ? undefined : await credential.current();
      return inner.stream(method, signal, timeoutMs, withText(header, text), input, contextValues);
    },
  };
}

function mayRetry(error: unknown, contextValues: ContextValues | undefined): boolean {
  if (isSurelyNotJudged(error)) return true;
  return contextValues?.get(countsNothing) === true && error instanceof ConnectError && PASSING.has(error.code);
}

function isUnauthenticated(error: unknown): boolean {
  return error instanceof ConnectError && error.code === Code.Unauthenticated;
}

function withText(header: ConstructorParameters<typeof Headers>[0], text: string | undefined): Headers {
  const headers = new Headers(header);
  if (text !== undefined) headers.set("authorization", `Bearer ${text}`);
  return headers;
}

/** At least 1: Connect reads 0 as no time at all, and the attempt ends by itself. */
function leftUntil(endMs: number): number {
  return Math.max(1, Math.ceil(endMs - performance.now()));
}

/** Waits for the credential, but not longer than the call may take. */
async function within<T>(endMs: number, value: T | Promise<T>): Promise<T> {
  if (!(value instanceof Promise)) return value;
  const ended = new AbortController();
  const late = pause(leftUntil(endMs), undefined, { signal: ended.signal }).then(() => {
    throw new LatchkeyUnavailable("the function `credential` did not answer before the deadline");
  });
  late.catch(() => {});
  try {
    return await Promise.race([value, late]);
  } finally {
    ended.abort();
  }
}

function jitter(maxMs: number): number {
  return Math.random() * maxMs;
}
