/** The effect of each RPC on a reset token of its account. A new RPC without a row here does not compile. */
import type { Client } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { errorOf } from "../support/errors.ts";
import { PASSWORD, type Person, startTestService, type TestService } from "../support/in-process-service.ts";

const NEW_PASSWORD = "another one that is just as odd";

interface Asked {
  readonly person: Person;
  readonly admin: Client<typeof AdminService>;
  readonly anyone: Client<typeof AuthService>;
}

type Ask = (asked: Asked) => Promise<unknown>;
type Rows = {
  readonly [K in keyof typeof AuthService.method | keyof typeof AdminService.method]: Ask | "not about an account";
};

const userIdOf = ({ person }: Asked) => ({ userId: person.user.id });

/** RPCs that change who has access to an account. */
const USES_UP = {
  changePassword: ({ person }) => person.auth.changePassword({ currentPassword: PASSWORD, newPassword: NEW_PASSWORD }),
  createPasswordReset: (asked) => asked.admin.createPasswordReset(userIdOf(asked)),
  completePasswordReset: async (asked) => {
    const { resetToken } = await asked.admin.createPasswordReset(userIdOf(asked));
    await asked.anyone.completePasswordReset({ resetToken, newPassword: NEW_PASSWORD });
  },
  disableUser: (asked) => asked.admin.disableUser(userIdOf(asked)),
  enableUser: async (asked) => {
    await asked.admin.disableUser(userIdOf(asked));
    await asked.admin.enableUser(userIdOf(asked));
  },
  endUserSessions: (asked) => asked.admin.endUserSessions(userIdOf(asked)),
} satisfies Partial<Rows>;

/** All other RPCs, in an order in which one user can call them. */
const KEEPS: Omit<Rows, keyof typeof USES_UP> = {
  login: ({ anyone, person }) => anyone.login({ email: person.email, password: PASSWORD }),
  getCurrentUser: ({ person }) => person.auth.getCurrentUser({}),
  updateCurrentUser: ({ person }) =>
    person.auth.updateCurrentUser({ user: { displayName: "Ada" }, updateMask: { paths: ["display_name"] } }),
  listSessions: ({ person }) => person.auth.listSessions({}),
  getUser: (asked) => asked.admin.getUser(userIdOf(asked)),
  listUsers: ({ admin, person }) => admin.listUsers({ email: person.email }),
  updateUser: ({ admin, person }) =>
    admin.updateUser({ user: { id: person.user.id, tier: "pro" }, updateMask: { paths: ["tier"] } }),
  clearLoginFailures: (asked) => asked.admin.clearLoginFailures(userIdOf(asked)),
  listAuditEvents: ({ admin, person }) => admin.listAuditEvents({ subjectId: person.user.id }),
  rotateSigningKey: ({ admin }) => admin.rotateSigningKey({}),
  refresh: ({ anyone, person }) => anyone.refresh({ refreshToken: person.tokens.refreshToken }),
  revokeSession: async ({ anyone, person }) => {
    const { tokens } = await anyone.login({ email: person.email, password: PASSWORD });
    const { sessions } = await person.auth.listSessions({});
    await person.auth.revokeSession({ sessionId: sessions.find(({ current }) => !current)!.id });
    return tokens;
  },
  logout: ({ anyone, person }) => anyone.logout({ refreshToken: person.tokens.refreshToken }),
  register: "not about an account",
  createUser: "not about an account",
  resetRateLimits: "not about an account",
  issueServiceCredential: "not about an account",
  listServiceCredentials: "not about an account",
  updateServiceCredential: "not about an account",
  rotateServiceCredential: "not about an account",
  revokeServiceCredential: "not about an account",
  listSigningKeys: "not about an account",
  revokeSigningKey: "not about an account",
  getServerInfo: "not about an account",
};

describe("a reset token", () => {
  let service: TestService;
  let admin: Client<typeof AdminService>;
  let anyone: Client<typeof AuthService>;
  beforeAll(async () => {
    service = await startTestService();
    admin = service.client(AdminService, service.admin);
    anyone = service.client(AuthService);
  });
  afterAll(() => service?.[Symbol.asyncDispose]());

  async function newReset() {
    const person = await service.newPerson();
    const { resetToken } = await admin.createPasswordReset({ userId: person.user.id });
    const use = () => anyone.completePasswordReset({ resetToken, newPassword: "a thief's choice of words" });
    return { person, use };
  }

  it.each(Object.entries<Ask>(USES_UP))("is used up by %s", async (_name, ask) => {
    const { person, use } = await newReset();
    await ask({ person, admin, anyone });
    expect(await errorOf(use())).toMatchObject({ reason: "RESET_TOKEN_INVALID" });
  });

  it("stays valid after every other RPC on the account, and then sets its password", async () => {
    const { person, use } = await newReset();
    for (const ask of Object.values<Ask | "not about an account">(KEEPS)) {
      if (ask !== "not about an account") await ask({ person, admin, anyone });
    }
    await use();
    expect(await errorOf(anyone.login({ email: person.email, password: PASSWORD }))).toMatchObject({
      reason: "LOGIN_FAILED",
    });
  });
});
