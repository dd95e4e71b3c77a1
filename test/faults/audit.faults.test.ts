/**
 * Every RPC that changes something leaves an audit event, and a change whose event can't be written does not happen. A
 * real process runs on a PostgreSQL that refuses audit events.
 */

import type { DescService } from "@bufbuild/protobuf";
import { type Client, createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import type { AuditEvent } from "../../src/gen/latchkey/v1/audit_event_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { effectOf } from "../../src/rpc/effects.ts";
import { errorOf } from "../support/errors.ts";
import { startFleet } from "../support/fleet.ts";
import { PASSWORD } from "../support/in-process-service.ts";
import { type PostgresServer, startPostgres } from "../support/own-postgres.ts";
import { canStart } from "../support/shared-servers.ts";
import type { ReadyService } from "../support/spawned-service.ts";

const WRONG = "violet harbour engine quilt";
const CALLER_IP = "198.51.100.7";

/** RPCs that change nothing: they read, judge, or return the next token of a session. */
const CHANGE_NOTHING = [
  ...["auth.Refresh", "auth.GetCurrentUser", "auth.ListSessions"],
  ...["keys.GetKey", "keys.ListKeys", "keys.VerifyKey", "keys.BatchVerifyKeys", "keys.CheckRateLimit"],
  ...[
    "keys.BatchCheckRateLimits",
    "keys.WatchRevocations",
    "admin.ListUsers",
    "admin.GetUser",
    "admin.ListServiceCredentials",
  ],
  ...["admin.ListSigningKeys", "admin.ListAuditEvents", "admin.GetServerInfo"],
];

interface Effect {
  /** The kinds of the audit events that the RPC writes. */
  readonly kinds: readonly string[];
  /** Makes the object of the change. @returns a function that calls the RPC */
  readonly prepare: () => Promise<() => Promise<unknown>>;
  /** Set if the change is outside the database. */
  readonly isElsewhere?: true;
}

describe.skipIf(!canStart("postgres"))("an RPC that changes something", () => {
  let postgres: PostgresServer;
  let service: ReadyService;
  let credential: string;
  let numbers = 0;
  beforeAll(async () => {
    postgres = await startPostgres();
    const fleet = await startFleet({
      DATABASE_URL: postgres.url(),
      LATCHKEY_TRUSTED_PROXIES: "127.0.0.0/8",
      LATCHKEY_ARGON2_MEMORY_KIB: "1024",
      LATCHKEY_ARGON2_PASSES: "1",
    });
    service = fleet.service;
    credential = fleet.admin;
    // The first access token makes the first signing key.
    await newPerson();
  });
  afterAll(async () => {
    await service?.stop();
    await postgres?.stop();
  });

  function client<S extends DescService>(desc: S, token?: string): Client<S> {
    const identify: Interceptor = (next) => (request) => {
      if (token !== undefined) request.header.set("authorization", `Bearer ${token}`);
      request.header.set("x-forwarded-for", CALLER_IP);
      return next(request);
    };
    return createClient(desc, createGrpcTransport({ baseUrl: `http://${service.address}`, interceptors: [identify] }));
  }

  const anyone = () => client(AuthService);
  const admin = () => client(AdminService, credential);
  const freshEmail = () => `record-${++numbers}@example.com`;

  async function newPerson() {
    const email = freshEmail();
    const { user, tokens } = await anyone().register({ email, password: PASSWORD });
    const token = tokens!.accessToken;
    const { refreshToken } = tokens!;
    return { email, userId: user!.id, refreshToken, auth: client(AuthService, token), keys: client(KeyService, token) };
  }

  async function newKey() {
    const { keys } = await newPerson();
    return { keys, keyId: (await keys.issueKey({ name: "a key" })).key!.id };
  }

  async function newCredential(): Promise<string> {
    return (await admin().issueServiceCredential({ name: "a service", scopes: ["verify"] })).credential!.id;
  }

  const ofKey = (
    kind: string,
    change: (keys: Client<typeof KeyService>, keyId: string) => Promise<unknown>,
  ): Effect => ({
    kinds: [kind],
    prepare: async () => {
      const { keys, keyId } = await newKey();
      return () => change(keys, keyId);
    },
  });
  const ofPerson = (
    kinds: readonly string[],
    change: (person: Awaited<ReturnType<typeof newPerson>>) => Promise<unknown>,
    first: (person: Awaited<ReturnType<typeof newPerson>>) => Promise<unknown> = async () => {},
  ): Effect => ({
    kinds,
    prepare: async () => {
      const person = await newPerson();
      await first(person);
      return () => change(person);
    },
  });
  const ofNothing = (kinds: readonly string[], change: () => Promise<unknown>): Effect => ({
    kinds,
    prepare: async () => change,
  });

  const EFFECTS: Record<string, Effect> = {
    "auth.Register": ofNothing(["session.begun", "user.registered"], () =>
      anyone().register({ email: freshEmail(), password: PASSWORD }),
    ),
    "auth.Login": ofPerson(["session.begun"], ({ email }) => anyone().login({ email, password: PASSWORD })),
    "auth.Logout": ofPerson(["session.ended"], ({ refreshToken }) => anyone().logout({ refreshToken })),
    "auth.UpdateCurrentUser": ofPerson(["user.updated"], ({ auth }) =>
      auth.updateCurrentUser({ user: { displayName: "N" }, updateMask: { paths: ["display_name"] } }),
    ),
    "auth.ChangePassword": ofPerson(["session.begun", "user.password_changed"], ({ auth }) =>
      auth.changePassword({ currentPassword: PASSWORD, newPassword: WRONG }),
    ),
    "auth.CompletePasswordReset": {
      kinds: ["session.begun", "user.password_reset"],
      prepare: async () => {
        const { resetToken } = await admin().createUser({ email: freshEmail() });
        return () => anyone().completePasswordReset({ resetToken, newPassword: PASSWORD });
      },
    },
    "auth.RevokeSession": ofPerson(["session.ended"], async ({ auth }) =>
      auth.revokeSession({ sessionId: (await auth.listSessions({})).sessions[0]!.id }),
    ),
    "keys.IssueKey": ofPerson(["key.issued"], ({ keys }) => keys.issueKey({ name: "a key" })),
    "keys.UpdateKey": ofKey("key.updated", (keys, id) =>
      keys.updateKey({ key: { id, name: "renamed" }, updateMask: { paths: ["name"] } }),
    ),
    "keys.DisableKey": ofKey("key.disabled", (keys, keyId) => keys.disableKey({ keyId })),
    "keys.EnableKey": {
      kinds: ["key.enabled"],
      prepare: async () => {
        const { keys, keyId } = await newKey();
        await keys.disableKey({ keyId });
        return () => keys.enableKey({ keyId });
      },
    },
    "keys.RotateKey": ofKey("key.rotated", (keys, keyId) => keys.rotateKey({ keyId })),
    "keys.RevokeKey": ofKey("key.revoked", (keys, keyId) => keys.revokeKey({ keyId })),
    "keys.DeleteKey": ofKey("key.deleted", (keys, keyId) => keys.deleteKey({ keyId })),
    "admin.CreateUser": ofNothing(["user.created"], () => admin().createUser({ email: freshEmail() })),
    "admin.UpdateUser": ofPerson(["user.updated"], ({ userId: id }) =>
      admin().updateUser({ user: { id, tier: "pro" }, updateMask: { paths: ["tier"] } }),
    ),
    "admin.DisableUser": ofPerson(["user.disabled"], ({ userId }) => admin().disableUser({ userId })),
    "admin.EnableUser": ofPerson(
      ["user.enabled"],
      ({ userId }) => admin().enableUser({ userId }),
      ({ userId }) => admin().disableUser({ userId }),
    ),
    "admin.CreatePasswordReset": ofPerson(["user.reset_token_created"], ({ userId }) =>
      admin().createPasswordReset({ userId }),
    ),
    "admin.ClearLoginFailures": ofPerson(
      ["user.login_failures_cleared"],
      ({ userId }) => admin().clearLoginFailures({ userId }),
      ({ email }) => errorOf(anyone().login({ email, password: WRONG })),
    ),
    "admin.EndUserSessions": ofPerson(["session.ended"], ({ userId }) => admin().endUserSessions({ userId })),
    "admin.ResetRateLimits": {
      ...ofKey("key.limits_reset", (_keys, keyId) => admin().resetRateLimits({ keyId })),
      isElsewhere: true,
    },
    "admin.IssueServiceCredential": ofNothing(["credential.issued"], () =>
      admin().issueServiceCredential({ name: "a service", scopes: ["verify"] }),
    ),
    "admin.UpdateServiceCredential": {
      kinds: ["credential.updated"],
      prepare: async () => {
        const id = await newCredential();
        return () =>
          admin().updateServiceCredential({ credential: { id, certificateNames: [`${id}.a`.toLowerCase()] } });
      },
    },
    "admin.RotateServiceCredential": {
      kinds: ["credential.rotated"],
      prepare: async () => {
        const credentialId = await newCredential();
        return () => admin().rotateServiceCredential({ credentialId });
      },
    },
    "admin.RevokeServiceCredential": {
      kinds: ["credential.revoked"],
      prepare: async () => {
        const credentialId = await newCredential();
        return () => admin().revokeServiceCredential({ credentialId });
      },
    },
    "admin.RotateSigningKey": {
      kinds: ["signing_key.created"],
      prepare: async () => {
        await revokeNext();
        return () => admin().rotateSigningKey({});
      },
    },
    "admin.RevokeSigningKey": {
      kinds: ["signing_key.revoked"],
      prepare: async () => {
        const { key } = await admin().rotateSigningKey({});
        return () => admin().revokeSigningKey({ keyId: key!.id });
      },
    },
  };

  /** Revokes the next signing key, so that a later rotation makes a new one. */
  async function revokeNext(): Promise<void> {
    const { key } = await admin().rotateSigningKey({});
    await admin().revokeSigningKey({ keyId: key!.id });
  }

  async function eventsSince(ids: ReadonlySet<string>): Promise<AuditEvent[]> {
    const { events } = await admin().listAuditEvents({ pageSize: 250 });
    return events.filter(({ id }) => !ids.has(id));
  }

  /** A digest of everything that people and operators can change, except the time of last use of a key. */
  function state(): Promise<string> {
    const tables = ["users", "sessions", "password_resets", "signing_keys", "key_secrets", "changes", "login_accounts"];
    return postgres.sql(
      [
        ...tables.map(
          (table) => `select '${table}', md5(coalesce(string_agg(t::text, '|' order by t::text), '')) from ${table} t`,
        ),
        "select 'api_keys', md5(coalesce(string_agg((to_jsonb(t) - 'last_used_at')::text, '|' order by id), '')) from api_keys t",
      ].join(" union all "),
    );
  }

  it("is listed in EFFECTS, and every other RPC in CHANGE_NOTHING", () => {
    const services = { auth: AuthService, keys: KeyService, admin: AdminService };
    const all = Object.entries(services).flatMap(([room, { methods }]) => methods.map(({ name }) => `${room}.${name}`));
    expect([...Object.keys(EFFECTS), ...CHANGE_NOTHING].sort()).toEqual(all.sort());
    // The service counts the changes of a caller by its own table (rpc/effects.ts), which must say the same.
    for (const [room, { methods }] of Object.entries(services)) {
      const reading = methods.filter((method) => effectOf(method) === "reads").map(({ name }) => `${room}.${name}`);
      const unchanging = CHANGE_NOTHING.filter((name) => name.startsWith(`${room}.`) && name !== "auth.Refresh");
      expect(reading.sort()).toEqual(unchanging.sort());
    }
  });

  it.each(Object.keys(EFFECTS))("leaves an audit event with its actor and address: %s", async (name) => {
    const { kinds, prepare, isElsewhere } = EFFECTS[name]!;
    const change = await prepare();
    const before = new Set((await eventsSince(new Set())).map(({ id }) => id));
    const stateBefore = await state();
    await change();
    if (!isElsewhere) expect(await state()).not.toBe(stateBefore);
    const events = await eventsSince(before);
    expect(events.map(({ kind }) => kind).sort()).toEqual(kinds);
    for (const { actorId, subjectId, clientIp } of events) {
      expect(actorId).toMatch(name.startsWith("admin.") ? /^svc_/ : /^usr_/);
      expect(subjectId).toMatch(/^((usr|ses|key|svc)_\w{16}|[\w-]{43})$/);
      expect(clientIp).toBe(CALLER_IP);
    }
  });

  it.each(Object.keys(EFFECTS))("does not happen if its event can't be written: %s", async (name) => {
    const { prepare } = EFFECTS[name]!;
    const change = await prepare();
    const stateBefore = await state();
    await postgres.sql("alter table audit_events add constraint refused check (id = '') not valid");
    try {
      expect(await errorOf(change())).toMatchObject({ reason: "INTERNAL", message: "internal error" });
      // A login that does not complete counts as failed, in a table of its own.
      if (!["auth.Login", "auth.ChangePassword"].includes(name)) expect(await state()).toBe(stateBefore);
      else expect(withoutFailures(await state())).toBe(withoutFailures(stateBefore));
    } finally {
      await postgres.sql("alter table audit_events drop constraint refused");
    }
  });
});

function withoutFailures(state: string): string {
  return state
    .split("\n")
    .filter((line) => !line.startsWith("login_accounts"))
    .join("\n");
}
