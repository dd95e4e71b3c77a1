import { type Client, Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BadRequestSchema } from "../../src/gen/google/rpc/error_details_pb.ts";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { checksum62 } from "../../src/lib/base62.ts";
import { errorOf } from "../support/errors.ts";
import { PASSWORD, type Person, startTestService, type TestService } from "../support/in-process-service.ts";
import { postJson } from "../support/post-json.ts";

/** Part of every text here that must not reach the log. */
const CANARY = "canary";
const STRONG = `${CANARY} ochre lantern waltz`;
const UNKNOWN = "AAAAAAAAAAAAAAAA";
const NOT_IDS = ["", "nonsense", `key_\0${UNKNOWN.slice(1)}`, "' or 1=1 --", CANARY.repeat(8000)];

let service: TestService;
let anyone: Client<typeof AuthService>;
let admin: Client<typeof AdminService>;
let person: Person;
beforeAll(async () => {
  service = await startTestService();
  anyone = service.client(AuthService);
  admin = service.client(AdminService, service.admin);
  person = await service.newPerson();
});
afterAll(() => service?.[Symbol.asyncDispose]());

/** The BadRequest detail of a refused call: each field with its reason. */
async function violationsOf(call: Promise<unknown>): Promise<string[][]> {
  const error = ConnectError.from(
    await call.then(
      () => new Error("the call succeeded"),
      (reason: unknown) => reason,
    ),
  );
  expect(error.code).toBe(Code.InvalidArgument);
  const { fieldViolations } = error.findDetails(BadRequestSchema)[0]!;
  return fieldViolations.map(({ field, reason }) => [field, reason]);
}

describe("Register", () => {
  it.each([
    "",
    "nobody",
    "@example.com",
    "a@b@example.com",
    " a@example.com",
    "a@example.com\r\n",
    "a\0@example.com",
    "a\u200b@example.com",
    "a@example.com.",
    "a@localhost",
    "a@127.0.0.1",
    "a@[127.0.0.1]",
    '"a b"@example.com',
    "a@example.com,b@example.com",
    `${"a".repeat(65)}@example.com`,
    `a@${"b.".repeat(125)}com`,
  ])("refuses the address %j", async (email) => {
    expect((await errorOf(anyone.register({ email, password: STRONG }))).fields).toEqual(["email"]);
  });

  it("treats two addresses as one if only ASCII case or the form of the domain differs", async () => {
    const first = await anyone.register({ email: "mike@bücher.example", password: STRONG });
    expect(first.user?.email).toBe("mike@xn--bcher-kva.example");
    for (const email of ["MIKE@xn--bcher-kva.example", "mike@BÜCHER.example"]) {
      expect(await errorOf(anyone.register({ email, password: STRONG }))).toMatchObject({ code: Code.AlreadyExists });
    }
    // Dotless i and dotted capital I: Unicode's case mapping makes both an i.
    for (const email of ["mıke@bücher.example", "mİke@bücher.example"]) {
      const { user } = await anyone.register({ email, password: STRONG });
      expect(user?.id).not.toBe(first.user?.id);
    }
  });

  it("treats composed and decomposed letters of an address as one, and shows the address as it was given", async () => {
    const [composed, decomposed] = ["ren\u00e9@example.com", "Rene\u0301@example.com"];
    const { user } = await anyone.register({ email: decomposed, password: STRONG });
    expect(user?.email).toBe(decomposed);
    expect(await errorOf(anyone.register({ email: composed, password: STRONG }))).toMatchObject({
      code: Code.AlreadyExists,
    });
    expect((await anyone.login({ email: composed, password: STRONG })).user).toMatchObject({
      id: user?.id,
      email: decomposed,
    });
    for (const email of [composed, decomposed, "REN\u00e9@example.com"]) {
      expect(await errorOf(admin.createUser({ email }))).toMatchObject({ code: Code.AlreadyExists });
      expect((await admin.listUsers({ email })).users.map(({ id }) => id)).toEqual([user?.id]);
    }
  });

  it.each(["\ufe0f", "\u034f", "\u3164", "\u{e0100}", "\u00ad", "\u200d", "\u202e", "\u{e0041}"])(
    "refuses an address with the invisible character %j",
    async (invisible) => {
      const email = `see${invisible}n@example.com`;
      expect((await errorOf(anyone.register({ email, password: STRONG }))).fields).toEqual(["email"]);
      expect((await errorOf(admin.createUser({ email }))).fields).toEqual(["email"]);
    },
  );

  it("makes one account from eight registrations at the same moment", async () => {
    const request = { email: "once@example.com", password: STRONG };
    const outcomes = await Promise.allSettled(Array.from({ length: 8 }, () => anyone.register(request)));
    const refusals = outcomes.flatMap((outcome) => (outcome.status === "rejected" ? [outcome.reason.code] : []));
    expect(refusals).toHaveLength(7);
    // On a slow machine the last ones may have waited too long for a hash.
    for (const code of refusals) expect([Code.AlreadyExists, Code.ResourceExhausted]).toContain(code);
  });

  it.each([
    ["PASSWORD_TOO_SHORT", "ochre lantern."],
    ["PASSWORD_TOO_SHORT", "e\u0301".repeat(14)],
    ["PASSWORD_TOO_LONG", "é".repeat(257)],
    ["PASSWORD_TOO_LONG", "x".repeat(60_000)],
    ["PASSWORD_COMMON", "passwordpassword"],
    ["PASSWORD_IS_EMAIL", "P@assword.Example.com"],
    ["PASSWORD_MALFORMED", `${STRONG}\0`],
    ["PASSWORD_MALFORMED", `${STRONG}\n`],
  ])("refuses a password with the reason %s", async (reason, password) => {
    const call = anyone.register({ email: "p@assword.example.com", password });
    expect(await violationsOf(call)).toEqual([["password", reason]]);
  });

  it("names all faulty fields at once", async () => {
    const faulty = await errorOf(anyone.register({ email: "", password: "", displayName: "\u001b[2J" }));
    expect(faulty.fields).toEqual(["email", "password", "display_name"]);
  });
});

describe("Login", () => {
  it("accepts a password in any normal form of its characters, and refuses compatible characters", async () => {
    const email = "forms@example.com";
    const password = `${CANARY} caf\u00e9 au lait`;
    await anyone.register({ email, password });
    expect((await anyone.login({ email, password: password.normalize("NFD") })).user?.email).toBe(email);
    const compatible = await errorOf(anyone.login({ email, password: password.replace("c", "\uff43") }));
    expect(compatible.reason).toBe("LOGIN_FAILED");
  });

  it("answers the same bytes for an unknown account, a wrong password, a disabled user and an impossible address", async () => {
    const disabled = await service.newPerson();
    await admin.disableUser({ userId: disabled.user.id });
    const tries = [
      { email: "nobody@example.com", password: PASSWORD },
      { email: person.email, password: STRONG },
      { email: disabled.email, password: PASSWORD },
      { email: "no address", password: PASSWORD },
    ];
    // One after another, because a call that waits too long for a hash is OVERLOADED.
    const answers = [];
    for (const body of tries) answers.push(await postJson(service.address, "AuthService/Login", JSON.stringify(body)));
    expect(answers[0]?.status).toBe(401);
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1);
  });

  it("names the fields of an impossible address and an impossible password", async () => {
    expect((await errorOf(anyone.login({ email: "a\0", password: "b\0" }))).fields).toEqual(["email", "password"]);
    const long = await errorOf(anyone.login({ email: "x".repeat(255), password: "x".repeat(5000) }));
    expect(long.fields).toEqual(["email", "password"]);
  });
});

describe("a refresh token", () => {
  const checked = (text: string) => text + checksum62(text);

  it("that is forged with a good checksum is refused, and ends no session", async () => {
    const { auth, tokens } = await service.newPerson();
    const front = tokens.refreshToken.slice(0, -6);
    const otherMac = front.slice(0, -1) + (front.endsWith("A") ? "B" : "A");
    for (const forged of [front.replace("_1_", "_2_"), front.replace("_1_", "_999999999_"), otherMac].map(checked)) {
      expect(await errorOf(anyone.refresh({ refreshToken: forged }))).toMatchObject({
        reason: "REFRESH_TOKEN_INVALID",
      });
      await anyone.logout({ refreshToken: forged });
    }
    await auth.getCurrentUser({});
    expect((await anyone.refresh({ refreshToken: tokens.refreshToken })).tokens?.accessToken).not.toBe("");
  });

  it("that is any other kind of text gets the same answer", async () => {
    const { apiKey, person: owner } = await service.newKey();
    const token = owner.tokens.refreshToken;
    const answers = new Set<string>();
    for (const refreshToken of [apiKey, `Bearer ${token}`, `${token} `, token.replace("_ref_", "_live_"), ...NOT_IDS]) {
      answers.add(JSON.stringify(await errorOf(anyone.refresh({ refreshToken }))));
    }
    expect([...answers].map((answer) => JSON.parse(answer).reason)).toEqual(["REFRESH_TOKEN_INVALID"]);
  });
});

it("none of this caused an internal error, and none of the texts reached the log", () => {
  expect(service.lines.filter(({ level }) => level === "error")).toEqual([]);
  expect(JSON.stringify(service.lines)).not.toContain(CANARY);
});
