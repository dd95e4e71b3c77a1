/** A service in memory, so that the tests of a service that uses latchkey need none. */
import { fromBinary } from "@bufbuild/protobuf";
import { createRouterTransport, type ServiceImpl } from "@connectrpc/connect";
import { DatabaseClock } from "../../src/changes/database-clock.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { Change_Kind as Kind } from "../../src/gen/latchkey/v1/change_pb.ts";
import {
  BatchVerifyKeysResponseSchema,
  KeyService,
  VerifyKeyResponseSchema,
} from "../../src/gen/latchkey/v1/key_service_pb.ts";
import type { Tier } from "../../src/keys/tiers.ts";
import { type Clock, SkippingClock } from "../../src/lib/clock.ts";
import { DomainError } from "../../src/lib/errors.ts";
import { LocalLimiter } from "../../src/limits/local-limiter.ts";
import type { Call, EncodedMessage } from "../../src/rpc/call.ts";
import { toConnectError } from "../../src/rpc/errors.ts";
import { verifyHandlers } from "../../src/rpc/handlers/verify-handlers.ts";
import { FakeChanges } from "./fake-changes.ts";
import type { FakeControls, FakeFailure, FakeLatchkey, FakeOptions } from "./fake-controls.ts";
import { FakeKeys } from "./fake-keys.ts";
import { FAKE_AUDIENCE, FAKE_ISSUER, FakePeople } from "./fake-people.ts";
import { createLatchkeyOf } from "./latchkey.ts";

export type * from "./fake-controls.ts";

const TIERS: NonNullable<FakeOptions["tiers"]> = [
  { name: "basic", perMinute: 20, perDay: 1000 },
  { name: "pro", perMinute: 60, perDay: 5000 },
  { name: "enterprise", perMinute: 300, perDay: 50_000 },
];

/**
 * The client itself, over a service that judges keys and counts limits by the real service's own code. Nothing listens,
 * and nothing outlives the test.
 */
export function fakeLatchkey(options: FakeOptions = {}): FakeLatchkey {
  const { tiers = TIERS, environments = ["live", "test"], near = false } = options;
  const figures = tiers.map(({ name, perMinute, perDay }): Tier => ({ name, perMinute, perDay }));
  const [lowest, ...higher] = figures;
  if (lowest === undefined) throw new TypeError("fakeLatchkey: `tiers` must have at least one");
  if (environments.length === 0) throw new TypeError("fakeLatchkey: `environments` must have at least one");
  const time = new MovableTime();
  const clock = new SkippingClock(time);
  const changes = new FakeChanges(clock);
  const keys = new FakeKeys({ clock, changes }, [lowest, ...higher], environments);
  const people = new FakePeople(clock);
  let failure: FakeFailure | undefined;
  const check = () => {
    if (failure === "credential") throw new DomainError("CREDENTIAL_INVALID", "the credential is not known");
    if (failure === "unavailable") throw new DomainError("DATABASE_UNAVAILABLE", "the database is unreachable", RETRY);
  };
  const transport = createRouterTransport(({ service }) => {
    service(KeyService, keyService({ keys, changes, clock, check }));
    service(AuthService, authService(people, check));
  });
  const latchkey = createLatchkeyOf(
    {
      transport,
      credential: "kit_svc_fake",
      near,
      accessTokens: { issuer: FAKE_ISSUER, audience: FAKE_AUDIENCE, jwksUrl: FAKE_ISSUER },
    },
    { clock, keySet: people.keySet },
  );
  const fake: FakeControls = {
    issueKey: (options = {}) => keys.issue(options),
    revokeKey: (id) => keys.change(id, { state: "revoked", revokedAtMs: clock.nowMs() }),
    disableKey: (id) => keys.change(id, { state: "disabled", disabledBy: "svc_0000000000000000" }),
    enableKey: (id) => keys.change(id, { state: "active", disabledBy: undefined }),
    disableOwner: (ownerId) => keys.changeOwner(ownerId, "disabled"),
    enableOwner: (ownerId) => keys.changeOwner(ownerId, "active"),
    issueAccessToken: (options = {}) => people.issue(options),
    endSession: (sessionId) => {
      people.end(sessionId);
      changes.note(Kind.SESSION, sessionId);
    },
    fail: (next) => {
      failure = next;
    },
    recover: () => {
      failure = undefined;
    },
    advance: (ms) => time.advance(ms),
  };
  return Object.assign(latchkey, { fake: Object.freeze(fake) });
}

const RETRY = { retryAfterMs: 1000 };

/** The host's time, and what a test has added to it. */
class MovableTime implements Clock {
  #addedMs = 0;

  nowMs(): number {
    return Date.now() + this.#addedMs;
  }

  monotonicMs(): number {
    return performance.now() + this.#addedMs;
  }

  advance(ms: number): void {
    if (!(ms >= 0)) throw new TypeError("advance: the time can only go forward");
    this.#addedMs += ms;
  }
}

interface FakeKeyService {
  readonly keys: FakeKeys;
  readonly changes: FakeChanges;
  readonly clock: SkippingClock;
  readonly check: () => void;
}

/** The RPCs for verdicts and limits, by the handlers of the service itself; and the stream of changes. */
function keyService({ keys, changes, clock, check }: FakeKeyService): Partial<ServiceImpl<typeof KeyService>> {
  const databaseClock = new DatabaseClock(clock);
  databaseClock.observe(clock.nowMs(), clock.elapsedMs());
  const log = { info: () => {}, warn: () => {}, error: () => {}, flush: () => {} };
  const handlers = verifyHandlers({
    records: keys.records,
    limiter: new LocalLimiter({ clock, log }),
    usage: { used: () => {} },
    format: keys.format,
    databaseClock,
    tiers: keys.tiers,
    clock,
  });
  const call = { addHeader: () => {} } as unknown as Call;
  const bytesOf = async (answer: unknown) => ((await answer) as EncodedMessage).bytes;
  return {
    verifyKey: answering(check, async (request) =>
      fromBinary(VerifyKeyResponseSchema, await bytesOf(handlers.verifyKey!(request, call))),
    ),
    batchVerifyKeys: answering(check, async (request) =>
      fromBinary(BatchVerifyKeysResponseSchema, await bytesOf(handlers.batchVerifyKeys!(request, call))),
    ),
    checkRateLimit: answering(check, async (request) => (await handlers.checkRateLimit!(request, call)) as object),
    batchCheckRateLimits: answering(
      check,
      async (request) => (await handlers.batchCheckRateLimits!(request, call)) as object,
    ),
    async *watchRevocations(request, { signal }) {
      await answering(check, async () => {})(undefined, undefined);
      yield* changes.watch(request, signal);
    },
  };
}

function authService(people: FakePeople, check: () => void): Partial<ServiceImpl<typeof AuthService>> {
  return {
    getCurrentUser: answering(check, async (_request, { requestHeader }) => {
      const userId = people.userOf((requestHeader.get("authorization") ?? "").slice("Bearer ".length));
      if (userId === undefined) throw new DomainError("CREDENTIAL_INVALID", "the session has ended");
      return { user: { id: userId } };
    }),
  };
}

/** A handler whose errors look as the service's. */
function answering<I, C, O>(check: () => void, handle: (request: I, context: C) => Promise<O>) {
  return async (request: I, context: C): Promise<O> => {
    try {
      check();
      return await handle(request, context);
    } catch (error) {
      throw toConnectError(error);
    }
  };
}
