/** The ways in that an owner keeps while guesses have closed their account: a known address, and a refresh token. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { errorOf } from "../support/errors.ts";
import { PASSWORD, startTestService, type TestService } from "../support/in-process-service.ts";

const WRONG = "violet harbour engine quilt";
const MINUTES = 60_000;

describe("an account that 90 guesses from anywhere and 10 from the owner's own /24 closed", () => {
  let service: TestService;
  let numbers = 0;
  beforeAll(async () => {
    service = await startTestService({
      LATCHKEY_TRUSTED_PROXIES: "127.0.0.0/8",
    });
  });
  afterAll(() => service?.[Symbol.asyncDispose]());

  const freshIp = () => `10.${++numbers >> 8}.${numbers & 255}.1`;
  const from = (ip: string) => ({ headers: { "x-forwarded-for": ip } });
  const anyone = () => service.client(AuthService);

  /** The reason of a login's refusal, or OK. Repeats it while it is OVERLOADED: a busy machine delays its hash. */
  async function tryLogin(email: string, password: string, ip: string, refreshToken = ""): Promise<string> {
    const call = anyone().login({ email, password, refreshToken }, from(ip));
    const end = await call.then(
      () => "OK",
      async (error: unknown) => (await errorOf(Promise.reject(error))).reason ?? "",
    );
    return end === "OVERLOADED" ? tryLogin(email, password, ip, refreshToken) : end;
  }

  /** An owner at 192.0.x.10, whose network has other addresses. */
  async function newOwner() {
    const site = `192.0.${++numbers & 255}`;
    const email = `owner-${numbers}@example.com`;
    const home = `${site}.10`;
    const { tokens } = await anyone().register({ email, password: PASSWORD }, from(home));
    return { email, home, site, tokens: tokens! };
  }

  async function close({ email, site }: { readonly email: string; readonly site: string }): Promise<void> {
    for (let n = 0; n < 90; n += 5) {
      const ends = await Promise.all(Array.from({ length: 5 }, () => tryLogin(email, WRONG, freshIp())));
      expect(new Set(ends)).toEqual(new Set(["LOGIN_FAILED"]));
    }
    for (let n = 0; n < 10; n++) {
      service.clock.advance(15 * MINUTES);
      expect(await tryLogin(email, WRONG, `${site}.${100 + n}`)).toBe("LOGIN_FAILED");
    }
    expect(await tryLogin(email, PASSWORD, `${site}.99`)).toBe("TOO_MANY_ATTEMPTS");
    expect(await tryLogin(email, PASSWORD, freshIp())).toBe("TOO_MANY_ATTEMPTS");
  }

  it("accepts the owner's password at once from the address of a login, and from anywhere with a refresh token", async () => {
    const owner = await newOwner();
    await close(owner);
    const { refreshToken } = owner.tokens;
    // The control: a token with one changed letter has no effect.
    const forged = refreshToken.replace(/.$/, (last) => (last === "a" ? "b" : "a"));
    expect(await tryLogin(owner.email, WRONG, freshIp(), forged)).toBe("TOO_MANY_ATTEMPTS");
    expect(await tryLogin(owner.email, WRONG, freshIp(), refreshToken)).toBe("LOGIN_FAILED");
    expect(await tryLogin(owner.email, PASSWORD, owner.home)).toBe("OK");
    expect(await tryLogin(owner.email, PASSWORD, freshIp())).toBe("OK");
  }, 60_000);
});
