/**
 * The client of a latchkey service.
 *
 *   latchkey.ts           createLatchkey
 *   latchkey-interface.ts what it returns
 *   options.ts            the options and their check
 *   verification.ts       connects what leads a key to its verdict
 *   key-verdicts.ts       the way of a key: by what is kept, by a call, or by what is old
 *   near/                 keys that are judged in this process: near/near-cache.ts
 *   counting/             how those keys meet their limits: counting/counting.ts
 *   outage.ts             whether the service is unreachable
 *   lasting-verdicts.ts   the verdicts that streams live by, which are judged again
 *   verdict.ts            requests and verdicts, and the messages of verdicts
 *   request.ts            the check of requests, and their messages
 *   fixed-date.ts         a date that can't be set
 *   group-commit.ts       calls of one turn go to the service together
 *   service-calls.ts      the calls for verdicts
 *   known-keys.ts         which keys the service has found before
 *   key-digest.ts         the digests by which keys are remembered
 *   service-transport.ts  the credential and the retries of each call
 *   http2-sessions.ts     the connections
 *   not-judged.ts         which failures are safe to retry
 *   credential.ts         this client's own credential
 *   access-tokens.ts      tokens of people
 *   events.ts, errors.ts  what is told and what is thrown
 *   outcomes.ts           the state of this client, by the outcomes of its calls
 *   protect.ts            the core of the middleware: decides about a request
 *   guards.ts             requireApiKey, rateLimit and requireUser, with the check of their options
 *   door.ts               makes the middleware and the decorators of one framework
 *   express.ts, fastify.ts, hono.ts, node.ts, connect.ts, grpc.ts
 *                         one framework each; node-http.ts and rpc-answer.ts have what several of them share
 *   contract.ts           the generated services, messages and enumerations, for callers of auth, keys and admin
 *   testing.ts            a service in memory for tests, with fake-controls.ts, fake-keys.ts, fake-changes.ts and
 *                         fake-people.ts
 */
import { type Client, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { createRemoteJWKSet } from "jose";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { type AgeClock, systemClock, systemTimers, type Timers } from "../../src/lib/clock.ts";
import { AccessTokens, type AccessTokenVerdict, type KeySet, type VerifiedUser } from "./access-tokens.ts";
import { Credential } from "./credential.ts";
import { LatchkeyUnavailable } from "./errors.ts";
import { Events, type LatchkeyEvents } from "./events.ts";
import { Http2Sessions, tlsOptions } from "./http2-sessions.ts";
import type { OnEnd } from "./lasting-verdicts.ts";
import type { CallOptions, Latchkey, LatchkeyStats } from "./latchkey-interface.ts";
import { type CheckedOptions, checkOptions, type LatchkeyOptions } from "./options.ts";
import { Outcomes } from "./outcomes.ts";
import { checkRateLimitInit } from "./request.ts";
import { serviceTransport } from "./service-transport.ts";
import {
  type RateLimitRequest,
  type RateLimitVerdict,
  rateLimitVerdictOf,
  type Verdict,
  type VerifyRequest,
} from "./verdict.ts";
import { connectVerification, type Verification } from "./verification.ts";

export type { AccessTokenVerdict, VerifiedUser } from "./access-tokens.ts";
export type { CredentialSource } from "./credential.ts";
export { LatchkeyCredentialError, LatchkeyRequestError, LatchkeyUnavailable } from "./errors.ts";
export type { LatchkeyChange, LatchkeyEvents, LatchkeyState } from "./events.ts";
export type { OnEnd } from "./lasting-verdicts.ts";
export type { CallOptions, Latchkey, LatchkeyStats } from "./latchkey-interface.ts";
export type { StreamState } from "./near/watch-stream.ts";
export type { AccessTokenOptions, ClientCertificate, LatchkeyOptions, NearOptions } from "./options.ts";
export type {
  NamedLimit,
  RateLimitRequest,
  RateLimitVerdict,
  RateLimitWindow,
  Verdict,
  VerdictName,
  VerifiedKey,
  VerifyRequest,
} from "./verdict.ts";

/** A connection that does not answer a PING is replaced. */
const PING = { pingIntervalMs: 10_000, pingTimeoutMs: 2_000, idleConnectionTimeoutMs: 900_000 };
/** A revoked signing key stays believed for at most this long, as the service says of its key set. */
const KEY_SET_MAX_AGE_MS = 300_000;
/** Time for the first message of the stream in `ready`, unless `deadlineMs` is longer. */
const STREAM_DEADLINE_MS = 10_000;
/** Maximum age of what the stream told of sessions that is used, unless `near.maxStalenessMs` is shorter. */
const MAX_STALENESS_MS = 5_000;

/**
 * Makes a client. It connects at its first call; with `near`, in the next turn.
 *
 * @throws TypeError for an option that is wrong, with its name
 */
export function createLatchkey(options: LatchkeyOptions): Latchkey {
  return createLatchkeyOf(options, {});
}

/** The parts of a client that tests and `fakeLatchkey` replace. */
export interface LatchkeyParts {
  readonly keySet?: KeySet;
  readonly clock?: AgeClock;
  readonly timers?: Timers;
  /** 0 up to 1. */
  readonly random?: () => number;
}

/** As `createLatchkey`, with parts of the caller's own. */
export function createLatchkeyOf(options: LatchkeyOptions, parts: LatchkeyParts): Latchkey {
  return new ServiceLatchkey(checkOptions(options), parts);
}

class ServiceLatchkey implements Latchkey {
  readonly auth: Client<typeof AuthService>;
  readonly keys: Client<typeof KeyService>;
  readonly admin: Client<typeof AdminService>;
  readonly #options: CheckedOptions;
  readonly #sessions: Http2Sessions | undefined;
  readonly #events = new Events();
  readonly #outcomes = new Outcomes(this.#events);
  readonly #verification: Verification;
  readonly #tokens: AccessTokens | undefined;
  readonly #counts = { verdicts: 0, retries: 0 };

  constructor(options: CheckedOptions, parts: LatchkeyParts) {
    const { clock = systemClock, timers = systemTimers, random = Math.random } = parts;
    const { baseUrl } = options;
    this.#options = options;
    this.#sessions =
      baseUrl === undefined ? undefined : new Http2Sessions(baseUrl, PING, tlsOptions(options.clientCertificate));
    const credential = new Credential(options.credential);
    const transport = serviceTransport({
      inner: options.transport ?? createGrpcTransport({ baseUrl: baseUrl!, sessionManager: this.#sessions! }),
      credential,
      checkOpen: () => this.#checkOpen(undefined),
      onRetry: () => void this.#counts.retries++,
    });
    this.auth = createClient(AuthService, transport);
    this.keys = createClient(KeyService, transport);
    this.admin = createClient(AdminService, transport);
    this.#verification = connectVerification({
      ...{ options, transport, credential, clock, timers, random },
      events: this.#events,
      outcomes: this.#outcomes,
      onSigningKeys: () => this.#tokens?.signingKeysChanged(),
    });
    this.#tokens = this.#accessTokens(parts.keySet ?? remoteKeySet(options), clock);
  }

  async ready(): Promise<void> {
    const { calls } = this.#verification;
    this.#checkOpen(undefined);
    try {
      await calls.probe();
      if (this.#options.near !== undefined) await this.#streamUp();
    } catch (error) {
      this.#outcomes.fail(error);
    }
    this.#outcomes.succeed();
    await this.#tokens?.ready();
  }

  async verify(request: VerifyRequest, { signal }: CallOptions = {}): Promise<Verdict> {
    this.#checkOpen(signal);
    try {
      const verdict = await this.#verification.verdicts.verify(request, signal);
      this.#counts.verdicts++;
      if (verdict.source === "service") this.#outcomes.succeed();
      return verdict;
    } catch (error) {
      signal?.throwIfAborted();
      return this.#outcomes.fail(error);
    }
  }

  verifySync(request: VerifyRequest): Verdict | undefined {
    this.#checkOpen(undefined);
    const verdict = this.#verification.verdicts.near(request);
    if (verdict !== undefined) this.#counts.verdicts++;
    return verdict;
  }

  async checkRateLimit(request: RateLimitRequest, { signal }: CallOptions = {}): Promise<RateLimitVerdict> {
    this.#checkOpen(signal);
    const call = checkRateLimitInit(request);
    try {
      const response = await this.#verification.calls.checkRateLimit(call, signal);
      this.#outcomes.succeed();
      return rateLimitVerdictOf(response);
    } catch (error) {
      signal?.throwIfAborted();
      return this.#outcomes.fail(error);
    }
  }

  async verifyAccessToken(token: string): Promise<AccessTokenVerdict> {
    this.#checkOpen(undefined);
    if (typeof token !== "string") throw new TypeError("verifyAccessToken: the token must be a text");
    if (this.#tokens === undefined) {
      throw new TypeError("verifyAccessToken: the option `accessTokens` must name a `jwksUrl`, and not be false");
    }
    try {
      return await this.#tokens.verify(token);
    } catch (error) {
      return this.#outcomes.fail(error);
    }
  }

  watchKey(request: VerifyRequest, verdict: Verdict, onEnd: OnEnd<Verdict>): () => void {
    return this.#verification.lasting.key(request, verdict, onEnd);
  }

  watchAccessToken(token: string, user: VerifiedUser, onEnd: OnEnd<AccessTokenVerdict>): () => void {
    return this.#verification.lasting.token(token, user, () => this.verifyAccessToken(token), onEnd);
  }

  on<E extends keyof LatchkeyEvents>(event: E, listener: (value: LatchkeyEvents[E]) => void): () => void {
    return this.#events.on(event, listener);
  }

  stats(): LatchkeyStats {
    const { cache, calls, commit, stream, verdicts } = this.#verification;
    return Object.freeze({
      state: this.#events.state,
      ...this.#counts,
      failures: this.#outcomes.failures,
      ...verdicts.counts,
      ...calls.counts,
      waiting: commit.waiting,
      underWay: commit.underWay,
      stream: stream.state,
      streamAgeMs: cache.streamAgeMs,
      keptKeys: cache.size,
      keptBytes: cache.bytes,
    });
  }

  async close(): Promise<void> {
    // The reports that wait are sent before the client counts as closed.
    const reported = this.#verification.counting.drain();
    this.#events.become("closed");
    this.#verification.close(closedError());
    await reported;
    this.#sessions?.abort(closedError());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #accessTokens(keySet: KeySet | undefined, clock: AgeClock): AccessTokens | undefined {
    const { accessTokens, deadlineMs, near } = this.#options;
    if (keySet === undefined || accessTokens === undefined) return undefined;
    const { cache, stream } = this.#verification;
    return new AccessTokens({
      ...accessTokens,
      ...{ keySet, clock, deadlineMs },
      auth: this.auth,
      near: cache,
      openStream: () => stream.start(),
      maxStalenessMs: near?.maxStalenessMs ?? MAX_STALENESS_MS,
      onError: (error) => this.#events.emit("error", error),
    });
  }

  /** @throws LatchkeyUnavailable if the stream is not there in time */
  async #streamUp(): Promise<void> {
    const mostMs = Math.max(STREAM_DEADLINE_MS, this.#options.deadlineMs);
    const message = `the stream of changes had no message within ${mostMs} ms`;
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(new LatchkeyUnavailable(message)), mostMs);
    const ended = new Promise<never>((_, reject) => {
      late.signal.addEventListener("abort", () => reject(late.signal.reason), { once: true });
    });
    try {
      await Promise.race([this.#verification.stream.up(), ended]);
    } finally {
      clearTimeout(timer);
    }
  }

  #checkOpen(signal: AbortSignal | undefined): void {
    signal?.throwIfAborted();
    if (this.#events.state === "closed") throw closedError();
  }
}

function remoteKeySet({ accessTokens, deadlineMs }: CheckedOptions): KeySet | undefined {
  if (accessTokens?.jwksUrl === undefined) return undefined;
  const url = new URL(accessTokens.jwksUrl);
  const find = createRemoteJWKSet(url, { timeoutDuration: deadlineMs, cacheMaxAge: KEY_SET_MAX_AGE_MS });
  return { find, load: () => find.reload() };
}

function closedError(): LatchkeyUnavailable {
  return new LatchkeyUnavailable("the client is closed");
}
