/**
 * The client of a latchkey service.
 *
 *   latchkey.ts           createLatchkey
 *   latchkey-interface.ts what it returns
 *   options.ts            the options and their check
 *   verdict.ts            requests and verdicts, and their messages
 *   group-commit.ts       calls of one turn go to the service together
 *   known-keys.ts         which keys the service has found before
 *   service-transport.ts  the credential and the retries of each call
 *   not-judged.ts         which failures are safe to retry
 *   credential.ts         this client's own credential
 *   access-tokens.ts      tokens of people
 *   events.ts, errors.ts  what is told and what is thrown
 *   protect.ts            the core of the middleware: decides about a request
 *   guards.ts             requireApiKey, rateLimit and requireUser, with the check of their options
 *   door.ts               makes the middleware and the decorators of one framework
 *   express.ts, fastify.ts, hono.ts, node.ts, connect.ts, grpc.ts
 *                         one framework each; node-http.ts and rpc-answer.ts have what several of them share
 *   testing.ts            a service in memory for tests, with fake-controls.ts, fake-keys.ts and fake-people.ts
 */
import type { DescService } from "@bufbuild/protobuf";
import { type Client, createClient, createContextValues, type Transport } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { createRemoteJWKSet } from "jose";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { AccessTokens, type AccessTokenVerdict, type KeySet } from "./access-tokens.ts";
import { Credential } from "./credential.ts";
import {
  errorOf,
  errorOfStatus,
  LatchkeyCredentialError,
  LatchkeyRequestError,
  LatchkeyUnavailable,
} from "./errors.ts";
import { Events, type LatchkeyEvents } from "./events.ts";
import { GroupCommit, type Outcome, type SendCalls } from "./group-commit.ts";
import { KnownKeys } from "./known-keys.ts";
import type { CallOptions, Latchkey, LatchkeyStats } from "./latchkey-interface.ts";
import { type CheckedOptions, checkOptions, type LatchkeyOptions } from "./options.ts";
import { countsNothing, serviceTransport } from "./service-transport.ts";
import {
  checkRateLimitInit,
  type RateLimitRequest,
  type RateLimitVerdict,
  rateLimitVerdictOf,
  type Verdict,
  type VerifyRequest,
  verdictOf,
  verifyKeyInit,
} from "./verdict.ts";

export type { AccessTokenVerdict, VerifiedUser } from "./access-tokens.ts";
export type { CredentialSource } from "./credential.ts";
export { LatchkeyCredentialError, LatchkeyRequestError, LatchkeyUnavailable } from "./errors.ts";
export type { LatchkeyEvents, LatchkeyState } from "./events.ts";
export type { CallOptions, Latchkey, LatchkeyStats } from "./latchkey-interface.ts";
export type { AccessTokenOptions, LatchkeyOptions, NearOptions } from "./options.ts";
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

/** No key: it is asked about to see whether the service answers. Its form alone decides, so that it costs no read. */
const NO_KEY = "ready";
/** A connection that does not answer a PING is replaced. */
const PING = { pingIntervalMs: 10_000, pingTimeoutMs: 2_000, idleConnectionTimeoutMs: 900_000 };
/** A revoked signing key stays believed for at most this long, as the service says of its key set. */
const KEY_SET_MAX_AGE_MS = 300_000;

/**
 * Makes a client. It connects at its first call.
 *
 * @throws TypeError for an option that is wrong, with its name
 */
export function createLatchkey(options: LatchkeyOptions): Latchkey {
  const checked = checkOptions(options);
  const tokens = checked.accessTokens;
  return new ServiceLatchkey(
    checked,
    tokens?.jwksUrl === undefined ? undefined : remoteKeySet(tokens.jwksUrl, checked),
  );
}

/** For `fakeLatchkey`, whose keys are in memory. */
export function createLatchkeyWithKeySet(options: LatchkeyOptions, keySet: KeySet): Latchkey {
  return new ServiceLatchkey(checkOptions(options), keySet);
}

class ServiceLatchkey implements Latchkey {
  readonly auth: Client<typeof AuthService>;
  readonly keys: Client<typeof KeyService>;
  readonly admin: Client<typeof AdminService>;
  readonly #deadlineMs: number;
  readonly #sessions: Http2SessionManager | undefined;
  readonly #tokens: AccessTokens | undefined;
  readonly #events = new Events();
  readonly #knownKeys = new KnownKeys();
  readonly #known: GroupCommit;
  readonly #unknown: GroupCommit;
  /** Whether listeners know already that the credential is refused. */
  #isCredentialTold = false;
  readonly #counts = { verdicts: 0, failures: 0, calls: 0, batches: 0, retries: 0 };

  constructor(options: CheckedOptions, keySet: KeySet | undefined) {
    const { baseUrl, deadlineMs, batch } = options;
    this.#deadlineMs = deadlineMs;
    this.#sessions = baseUrl === undefined ? undefined : new Http2SessionManager(baseUrl, PING);
    const transport = serviceTransport({
      inner: options.transport ?? createGrpcTransport({ baseUrl: baseUrl!, sessionManager: this.#sessions! }),
      credential: new Credential(options.credential),
      checkOpen: () => this.#checkOpen(undefined),
      onRetry: () => void this.#counts.retries++,
    });
    this.auth = this.#client(AuthService, transport);
    this.keys = this.#client(KeyService, transport);
    this.admin = this.#client(AdminService, transport);
    this.#known = new GroupCommit({ send: this.#send, batch });
    this.#unknown = new GroupCommit({ send: this.#send, batch });
    if (keySet === undefined || options.accessTokens === undefined) return;
    const onError = (error: Error) => this.#events.emit("error", error);
    this.#tokens = new AccessTokens({ ...options.accessTokens, keySet, auth: this.auth, deadlineMs, onError });
  }

  async ready(): Promise<void> {
    await this.#known.verify({ apiKey: NO_KEY, cost: 0 }, { timeoutMs: this.#deadlineMs }).then(
      () => this.#succeed(),
      (error: unknown) => this.#fail(error),
    );
    await this.#tokens?.ready();
  }

  async verify(request: VerifyRequest, { signal }: CallOptions = {}): Promise<Verdict> {
    this.#checkOpen(signal);
    const call = verifyKeyInit(request);
    const commit = this.#knownKeys.has(request.apiKey) ? this.#known : this.#unknown;
    try {
      const sentAtMs = performance.now();
      const response = await commit.verify(call, { timeoutMs: this.#deadlineMs, signal });
      if (response.key !== undefined) this.#knownKeys.add(request.apiKey);
      this.#counts.verdicts++;
      this.#succeed();
      return verdictOf(response, performance.now() - sentAtMs);
    } catch (error) {
      signal?.throwIfAborted();
      return this.#fail(error);
    }
  }

  async checkRateLimit(request: RateLimitRequest, { signal }: CallOptions = {}): Promise<RateLimitVerdict> {
    this.#checkOpen(signal);
    const call = checkRateLimitInit(request);
    const options = {
      timeoutMs: this.#deadlineMs,
      contextValues: contextOf(call.cost === 0),
      ...(signal && { signal }),
    };
    try {
      this.#counts.calls++;
      const response = await this.keys.checkRateLimit(call, options);
      this.#succeed();
      return rateLimitVerdictOf(response);
    } catch (error) {
      signal?.throwIfAborted();
      return this.#fail(error);
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
      return this.#fail(error);
    }
  }

  on<E extends keyof LatchkeyEvents>(event: E, listener: (value: LatchkeyEvents[E]) => void): () => void {
    return this.#events.on(event, listener);
  }

  stats(): LatchkeyStats {
    return Object.freeze({
      state: this.#events.state,
      ...this.#counts,
      waiting: this.#known.waiting + this.#unknown.waiting,
      underWay: this.#known.underWay + this.#unknown.underWay,
    });
  }

  async close(): Promise<void> {
    this.#events.become("closed");
    for (const commit of [this.#known, this.#unknown]) commit.close(closedError());
    this.#sessions?.abort(closedError());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #client<S extends DescService>(service: S, transport: Transport): Client<S> {
    return createClient(service, transport);
  }

  readonly #send: SendCalls = async (calls, { timeoutMs, calmly }) => {
    const options = { timeoutMs, contextValues: contextOf(calmly) };
    this.#counts.calls++;
    if (calls.length === 1) return [{ response: await this.keys.verifyKey(calls[0]!, options) }];
    this.#counts.batches++;
    const { results } = await this.keys.batchVerifyKeys({ requests: [...calls] }, options);
    return results.map(({ outcome }): Outcome => {
      if (outcome.case === "response") return { response: outcome.value };
      if (outcome.case === "error") return { error: errorOfStatus(outcome.value) };
      return { error: new LatchkeyUnavailable("the service gave an answer without an outcome") };
    });
  };

  #checkOpen(signal: AbortSignal | undefined): void {
    signal?.throwIfAborted();
    if (this.#events.state === "closed") throw closedError();
  }

  #succeed(): void {
    this.#isCredentialTold = false;
    this.#events.become("ready");
  }

  /** @throws always: the error as callers see it */
  #fail(error: unknown): never {
    const failure = errorOf(error);
    this.#counts.failures++;
    if (!(failure instanceof LatchkeyRequestError)) this.#events.become("unavailable");
    if (failure instanceof LatchkeyCredentialError && !this.#isCredentialTold) {
      this.#isCredentialTold = true;
      this.#events.emit("error", failure);
    }
    throw failure;
  }
}

function remoteKeySet(url: string, { deadlineMs }: CheckedOptions): KeySet {
  const find = createRemoteJWKSet(new URL(url), { timeoutDuration: deadlineMs, cacheMaxAge: KEY_SET_MAX_AGE_MS });
  return { find, load: () => find.reload() };
}

function contextOf(calmly: boolean) {
  return createContextValues().set(countsNothing, calmly);
}

function closedError(): LatchkeyUnavailable {
  return new LatchkeyUnavailable("the client is closed");
}
