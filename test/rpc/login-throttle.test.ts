import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { errorOf } from "../support/errors.ts";
import { PASSWORD, startTestService, type TestService } from "../support/in-process-service.ts";
import { postJson } from "../support/post-json.ts";

const WRONG = "violet harbour engine quilt";
const NEW_PASSWORD = "another one that is just as odd";
const MINUTES = 60_000;

describe("the throttle of logins", () => {
  let service: TestService;
  let numbers = 0;
  beforeAll(async () => {
    service = await startTestService({
      LATCHKEY_TRUSTED_PROXIES: "127.0.0.0/8",
      LATCHKEY_HASHES_PER_ADDRESS: "30",
      // Cheap hashes, because no test here depends on their cost.
    });
  });
  afterAll(() => service?.[Symbol.asyncDispose]());

  const admin = () => service.client(AdminService, service.admin);

  /** An address of a network that no test has used yet. */
  const freshIp = () => `10.${++numbers >> 8}.${numbers & 255}.1`;
  const from = (ip: string) => ({ headers: { "x-forwarded-for": ip } });
  const freshEmail = () => `guessed-${++numbers}@example.com`;

  /** An answer byte by byte, with all headers except those that depend on the time or the connection. */
  async function call(method: string, ip: string, message: object): Promise<string> {
    const body = JSON.stringify(message);
    const response = await postJson(service.address, `AuthService/${method}`, body, { "x-forwarded-for": ip });
    const ofEachCall = ["date", "connection", "keep-alive", "x-request-id"];
    const names = [...response.headers.keys()].filter((name) => !ofEachCall.includes(name));
    const headers = names.map((name) => `${name}: ${response.headers.get(name)}`);
    return [response.status, ...headers.sort(), response.text].join("\n");
  }

  const login = (email: string, password: string, ip: string) => call("Login", ip, { email, password });

  /** The answers to `times` attempts, each from another network, five at a time. */
  async function guess(email: string, times: number): Promise<string[]> {
    const answers: string[] = [];
    while (answers.length < times) {
      answers.push(...(await Promise.all(Array.from({ length: 5 }, () => guessOnce(email)))));
    }
    return answers;
  }

  const guessOnce = (email: string) => judged(() => login(email, WRONG, freshIp()));

  /** One attempt, repeated while it is OVERLOADED: on a busy machine it may wait too long for its hash. */
  async function judged(attempt: () => Promise<string>): Promise<string> {
    const answer = await attempt();
    return answer.includes("OVERLOADED") ? judged(attempt) : answer;
  }

  async function newOwner(ip: string) {
    const email = freshEmail();
    const registered = await call("Register", ip, { email, password: PASSWORD });
    expect(registered).toMatch(/^200\n/);
    return { email, userId: /"id":"(usr_\w+)"/.exec(registered)![1]! };
  }

  /** Nine failures of one network in a row, after which it has to wait for 16 s. */
  async function failNineTimes(email: string, ipOf: (n: number) => string): Promise<void> {
    for (let n = 0; n < 9; n++) {
      if (n >= 5) service.clock.advance(1000 * 2 ** (n - 5));
      expect(await login(email, WRONG, ipOf(n))).toEqual(isWrong);
    }
  }

  const isLoggedIn = expect.stringMatching(/^200\n/);
  const isThrottled = expect.stringContaining("TOO_MANY_ATTEMPTS");
  const isWrong = expect.stringContaining("LOGIN_FAILED");

  it("ends guessing from unknown networks after 90 attempts, hides whether the account exists, and admits the owner's network", async () => {
    const { email } = await newOwner("192.0.2.10");
    const answers = await guess(email, 100);
    expect(answers.filter((answer) => answer.includes("LOGIN_FAILED"))).toHaveLength(90);
    expect(answers.filter((answer) => answer.includes("TOO_MANY_ATTEMPTS"))).toHaveLength(10);
    const kinds = [...new Set(answers)].sort();
    expect(kinds).toHaveLength(2);
    expect(kinds.join()).toContain("google.rpc.RetryInfo");
    expect(kinds.join()).toContain("retry-after: 900");
    expect([...new Set(await guess(freshEmail(), 100))].sort()).toEqual(kinds);
    await service.restart();
    expect(await login(email, PASSWORD, freshIp())).toEqual(isThrottled);
    expect(await login(email, PASSWORD, "192.0.2.99")).toEqual(isLoggedIn);
    expect(await login(email, PASSWORD, freshIp())).toEqual(isLoggedIn);
  }, 60_000);

  it("makes a network wait, longer after each failure from the sixth on, and no other network", async () => {
    const { email } = await newOwner(freshIp());
    await failNineTimes(email, (n) => `198.51.100.${n}`);
    expect(await login(email, PASSWORD, "198.51.100.77")).toEqual(isThrottled);
    expect(await login(email, PASSWORD, "203.0.113.1")).toEqual(isLoggedIn);
    expect(await login(email, PASSWORD, "198.51.100.1")).toEqual(isThrottled);
    service.clock.advance(16_000);
    expect(await login(email, PASSWORD, "198.51.100.1")).toEqual(isLoggedIn);
    for (let n = 0; n < 5; n++) expect(await login(email, WRONG, "198.51.100.1")).toEqual(isWrong);
  });

  it("ends guessing after 100 attempts also from the owner's network, until an operator clears the failures", async () => {
    const { email, userId } = await newOwner("192.0.2.10");
    await guess(email, 90);
    let judged = 90;
    for (; judged < 130; judged++) {
      service.clock.advance(15 * MINUTES);
      if (!(await login(email, WRONG, "192.0.2.10")).includes("LOGIN_FAILED")) break;
    }
    expect(judged).toBe(100);
    service.clock.advance(15 * MINUTES);
    expect(await login(email, PASSWORD, "192.0.2.10")).toEqual(isThrottled);
    await admin().clearLoginFailures({ userId });
    await admin().clearLoginFailures({ userId });
    expect(await login(email, PASSWORD, freshIp())).toEqual(isLoggedIn);
  }, 60_000);

  it("admits a user who sets a new password with an operator's token", async () => {
    const { email, userId } = await newOwner(freshIp());
    const ip = freshIp();
    await failNineTimes(email, () => ip);
    expect(await login(email, PASSWORD, ip)).toEqual(isThrottled);
    const { resetToken } = await admin().createPasswordReset({ userId });
    const reset = { resetToken, newPassword: NEW_PASSWORD };
    expect(await call("CompletePasswordReset", ip, reset)).toEqual(isLoggedIn);
    expect(await login(email, NEW_PASSWORD, ip)).toEqual(isLoggedIn);
  });

  it("ends attempts of one address after 20 a minute, at any accounts, Register included", async () => {
    const ip = freshIp();
    const { email } = await newOwner(ip);
    const answers: string[] = [];
    for (let n = 0; n < 10; n++) {
      const three = [
        judged(() => login(freshEmail(), WRONG, ip)),
        judged(() => login(freshEmail(), WRONG, ip)),
        judged(() => call("Register", ip, { email, password: PASSWORD })),
      ];
      answers.push(...(await Promise.all(three)));
    }
    expect(answers.filter((answer) => answer.includes("TOO_MANY_ATTEMPTS"))).toHaveLength(10);
    expect(await login(email, PASSWORD, ip)).toEqual(isThrottled);
    service.clock.advance(MINUTES);
    expect(await login(email, PASSWORD, ip)).toEqual(isLoggedIn);
  });

  it("admits many users of one address who register and log in", async () => {
    const ip = freshIp();
    for (let n = 0; n < 12; n++) {
      const { email } = await newOwner(ip);
      expect(await login(email, PASSWORD, ip)).toEqual(isLoggedIn);
    }
  });

  it("grants an address 30 hashes a minute: one for a login, also a successful one, and two for a change of password", async () => {
    const ip = freshIp();
    const { email } = await newOwner(ip);
    const hashes = async () => {
      const text = await (await fetch(`http://${service.opsAddress}/metrics`)).text();
      return Number(/^latchkey_password_hashes_total (\d+)$/m.exec(text)?.[1]);
    };
    const before = await hashes();
    const answers: string[] = [];
    for (let n = 0; n < 40; n++) answers.push(await login(email, PASSWORD, ip));
    expect(answers.filter((answer) => answer.includes("TOO_MANY_ATTEMPTS"))).toHaveLength(11);
    expect((await hashes()) - before, "with the one of Register").toBe(29);
    service.clock.advance(MINUTES);
    const { tokens } = await service.client(AuthService).login({ email, password: PASSWORD }, from(ip));
    let token = tokens!.accessToken;
    let [current, next] = [PASSWORD, NEW_PASSWORD];
    const changes: string[] = [];
    const atMs = await hashes();
    for (let n = 0; n < 20; n++) {
      const request = { currentPassword: current, newPassword: next };
      const changed = await service
        .client(AuthService, token)
        .changePassword(request, from(ip))
        .catch(ConnectError.from);
      changes.push(changed instanceof ConnectError ? (Code[changed.code] as string) : "changed");
      if (changed instanceof ConnectError) continue;
      token = changed.tokens!.accessToken;
      [current, next] = [next, current];
    }
    expect((await hashes()) - atMs).toBeLessThanOrEqual(29);
    expect(changes).toEqual([...Array(14).fill("changed"), ...Array(6).fill("ResourceExhausted")]);
  });

  it("counts by the address that a trusted proxy reports, not by one that the client invents", async () => {
    const { email } = await newOwner(freshIp());
    await failNineTimes(email, (n) => `203.0.113.${n}, 198.18.0.1`);
    expect(await login(email, WRONG, "203.0.113.77, 198.18.0.1")).toEqual(isThrottled);
  });

  it("clears failures only of users that exist", async () => {
    for (const userId of ["", "usr_AAAAAAAAAAAAAAAA", "garbage"]) {
      const refused = await errorOf(admin().clearLoginFailures({ userId }));
      expect(refused).toMatchObject({ code: Code.NotFound, reason: "USER_NOT_FOUND" });
    }
  });

  it("tells a client when to try again", async () => {
    const email = freshEmail();
    const ip = freshIp();
    await failNineTimes(email, () => ip);
    const headers = { "x-forwarded-for": ip };
    const refused = await errorOf(service.client(AuthService).login({ email, password: WRONG }, { headers }));
    expect(refused).toMatchObject({
      code: Code.ResourceExhausted,
      reason: "TOO_MANY_ATTEMPTS",
      hasRetryInfo: true,
      metadata: {},
    });
  });
});
