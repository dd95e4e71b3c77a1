/** A service as the contract suites need it, running or in memory. */
import { createLatchkey, type Latchkey, type LatchkeyOptions } from "../../client/src/latchkey.ts";
import { type FakeKeyOptions, fakeLatchkey } from "../../client/src/testing.ts";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { startTestService } from "../support/in-process-service.ts";

export interface World extends AsyncDisposable {
  readonly latchkey: Latchkey;
  /** A client that reaches no service. */
  readonly unreachable: Latchkey;
  /** A client whose own credential is refused. */
  readonly refused: Latchkey;
  newKey(options?: Omit<FakeKeyOptions, "ownerId">): Promise<{ apiKey: string; id: string; ownerId: string }>;
  revokeKey(id: string): Promise<void>;
  disableKey(id: string): Promise<void>;
  /** Changes a key in a way that no verdict depends on. */
  renameKey(id: string): Promise<void>;
  disableOwner(ownerId: string): Promise<void>;
  newToken(): Promise<{ accessToken: string; userId: string; sessionId: string }>;
  /** Ends every session of a person. */
  endSessions(token: { userId: string; sessionId: string }): Promise<void>;
  advance(ms: number): void;
}

/** Closed at once by each machine, and never given out as a free port. */
const NOBODY_LISTENS = "http://127.0.0.1:1";

type Near = LatchkeyOptions["near"];

export async function fakeWorld(near: Near = false): Promise<World> {
  const latchkey = fakeLatchkey({ near });
  const [unreachable, refused] = [fakeLatchkey({ near }), fakeLatchkey({ near })];
  unreachable.fake.fail("unavailable");
  refused.fake.fail("credential");
  const { fake } = latchkey;
  return {
    latchkey,
    unreachable,
    refused,
    newKey: async (options) => fake.issueKey(options),
    revokeKey: async (id) => fake.revokeKey(id),
    disableKey: async (id) => fake.disableKey(id),
    // Enabling a key that is enabled tells a change, and is none.
    renameKey: async (id) => fake.enableKey(id),
    disableOwner: async (ownerId) => fake.disableOwner(ownerId),
    newToken: async () => fake.issueAccessToken(),
    endSessions: async ({ sessionId }) => fake.endSession(sessionId),
    advance: (ms) => fake.advance(ms),
    async [Symbol.asyncDispose]() {
      for (const one of [latchkey, unreachable, refused]) await one.close();
    },
  };
}

export async function serviceWorld(near: Near = false): Promise<World> {
  const service = await startTestService();
  const baseUrl = `http://${service.address}`;
  const admin = service.client(AdminService, service.admin);
  const keys = service.client(KeyService, service.admin);
  const latchkey = createLatchkey({
    ...{ baseUrl, near, deadlineMs: 10_000 },
    credential: await service.newCredential("verify"),
  });
  const unreachable = createLatchkey({ baseUrl: NOBODY_LISTENS, near, credential: service.admin, deadlineMs: 300 });
  // One registration at a time: each costs a password hash, and a busy machine sheds concurrent ones.
  let registered: Promise<unknown> = Promise.resolve();
  const newPerson = () => {
    const person = registered.then(() => service.newPerson());
    registered = person.catch(() => {});
    return person;
  };
  const refused = createLatchkey({
    ...{ baseUrl, near, deadlineMs: 10_000 },
    credential: `${service.admin.slice(0, -1)}~`,
  });
  return {
    latchkey,
    unreachable,
    refused,
    async newKey({ expiresAt, ...options } = {}) {
      const ownerId = (await newPerson()).user.id;
      await admin.updateUser({ user: { id: ownerId, tier: "enterprise", scopes: ["*"] } });
      const issued = await keys.issueKey({
        name: "a key",
        ...options,
        ownerId,
        scopes: [...(options.scopes ?? [])],
        metadata: { ...options.metadata },
        allowedIps: [...(options.allowedIps ?? [])],
        allowedMethods: [...(options.allowedMethods ?? [])],
        ...(expiresAt && { expireTime: { seconds: BigInt(Math.floor(expiresAt.getTime() / 1000)), nanos: 0 } }),
      });
      return { apiKey: issued.apiKey, id: issued.key!.id, ownerId };
    },
    revokeKey: async (keyId) => void (await keys.revokeKey({ keyId })),
    disableKey: async (keyId) => void (await keys.disableKey({ keyId })),
    renameKey: async (id) => void (await keys.updateKey({ key: { id, name: "another name" } })),
    disableOwner: async (userId) => void (await admin.disableUser({ userId })),
    async newToken() {
      const { user, tokens } = await newPerson();
      const { sid } = JSON.parse(Buffer.from(tokens.accessToken.split(".")[1]!, "base64url").toString());
      return { accessToken: tokens.accessToken, userId: user.id, sessionId: sid };
    },
    endSessions: async ({ userId }) => void (await admin.endUserSessions({ userId })),
    advance: (ms) => service.clock.advance(ms),
    async [Symbol.asyncDispose]() {
      for (const one of [latchkey, unreachable, refused]) await one.close();
      await service[Symbol.asyncDispose]();
    },
  };
}
