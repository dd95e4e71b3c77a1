import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Client, Code } from "@connectrpc/connect";
import { createLocalJWKSet, createRemoteJWKSet, decodeProtectedHeader, type JSONWebKeySet, jwtVerify } from "jose";
import { afterEach, describe, expect, it, vi } from "vitest";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { SigningKey_State as State } from "../../src/gen/latchkey/v1/signing_key_pb.ts";
import { freshUrl } from "../support/database.ts";
import { errorOf } from "../support/errors.ts";
import { type Person, startTestService, type TestService } from "../support/in-process-service.ts";
import { canStart } from "../support/shared-servers.ts";
import { eventually } from "../support/until.ts";

const SECONDS = 1000;
const DAYS = 86_400 * SECONDS;
const CLAIMS = { issuer: "http://localhost:8080", audience: "latchkey", typ: "at+jwt" };

const kidOf = (token: string) => decodeProtectedHeader(token).kid!;
const timeOf = (time: { seconds: bigint; nanos: number } | undefined) =>
  Number(time!.seconds) * 1000 + time!.nanos / 1e6;

async function fetchKeys(service: TestService): Promise<{ keys: JSONWebKeySet; maxAgeMs: number }> {
  const response = await fetch(`http://${service.address}/.well-known/jwks.json`);
  const maxAge = /^public, max-age=(\d+)$/.exec(response.headers.get("cache-control")!);
  return { keys: (await response.json()) as JSONWebKeySet, maxAgeMs: Number(maxAge![1]) * SECONDS };
}

/**
 * Another service that verifies tokens as lazily as allowed. It keeps the key set until the answer's max-age ends, and
 * does not fetch it earlier for an unknown kid or a failed signature.
 */
function lazyVerifier(service: TestService) {
  const { clock } = service;
  let kept: { keys: ReturnType<typeof createLocalJWKSet>; untilMs: number } | undefined;
  return {
    async verify(token: string) {
      const nowMs = clock.nowMs();
      if (kept === undefined || nowMs >= kept.untilMs) {
        const { keys, maxAgeMs } = await fetchKeys(service);
        kept = { keys: createLocalJWKSet(keys), untilMs: nowMs + maxAgeMs };
      }
      return jwtVerify(token, kept.keys, { ...CLAIMS, currentDate: new Date(nowMs) });
    },
  };
}

describe.each(["EdDSA", "ES256"])("signing keys of %s", { timeout: 30_000 }, (algorithm) => {
  let service: TestService;
  let admin: Client<typeof AdminService>;
  let anyone: Client<typeof AuthService>;
  afterEach(() => service?.[Symbol.asyncDispose]());

  async function start(settings: Record<string, string> = {}): Promise<Person> {
    service = await startTestService({ LATCHKEY_ACCESS_TOKEN_ALGORITHM: algorithm, ...settings });
    admin = service.client(AdminService, service.admin);
    anyone = service.client(AuthService);
    return service.newPerson();
  }

  /** Returns a function that refreshes one session, and returns its next access token. */
  function refresher(person: Person): () => Promise<string> {
    let { refreshToken } = person.tokens;
    return async () => {
      const { tokens } = await anyone.refresh({ refreshToken });
      refreshToken = tokens!.refreshToken;
      return tokens!.accessToken;
    };
  }

  const knows = (accessToken: string) =>
    anyone.getCurrentUser({}, { headers: { authorization: `Bearer ${accessToken}` } });
  const states = async () => (await admin.listSigningKeys({})).keys.map(({ id, state }) => [id, state]);

  it("rotate so that even the laziest verifier accepts every token", async () => {
    const person = await start();
    const nextToken = refresher(person);
    const old = kidOf(person.tokens.accessToken);
    // A verifier that fetched the keys just before the rotation is the last to know the new key.
    const verifiers = [lazyVerifier(service)];
    await verifiers[0]!.verify(person.tokens.accessToken);
    const { key } = await admin.rotateSigningKey({});
    expect(key).toMatchObject({ algorithm, state: State.NEXT });
    expect(key!.retireTime).toBeUndefined();
    expect(timeOf(key!.activateTime) - timeOf(key!.createTime)).toBe(360 * SECONDS);
    expect((await fetchKeys(service)).keys.keys.map(({ kid }) => kid)).toEqual([key!.id, old]);
    const signedBy = new Set<string>();
    let lastOfOld = "";
    for (let passedMs = 0; passedMs <= 420 * SECONDS; passedMs += 20 * SECONDS) {
      const token = await nextToken();
      verifiers.push(lazyVerifier(service));
      await Promise.all([knows(token), ...verifiers.map((verifier) => verifier.verify(token))]);
      const isBefore = service.clock.nowMs() < timeOf(key!.activateTime) - SECONDS;
      if (isBefore) expect(kidOf(token)).toBe(old);
      if (kidOf(token) === old) lastOfOld = token;
      signedBy.add(kidOf(token));
      service.clock.advance(20 * SECONDS);
    }
    expect([...signedBy]).toEqual([old, key!.id]);
    expect(await states()).toEqual([
      [key!.id, State.ACTIVE],
      [old, State.RETIRED],
    ]);
    // The last token of the old key lives 30 minutes, and is valid until then.
    service.clock.advance(1670 * SECONDS);
    await Promise.all([knows(lastOfOld), ...verifiers.map((verifier) => verifier.verify(lastOfOld))]);
    service.clock.advance(200 * SECONDS);
    expect((await fetchKeys(service)).keys.keys.map(({ kid }) => kid)).toEqual([key!.id]);
  });

  it("rotate once for two operators at once, and not again before the next key signs", async () => {
    await start();
    const [one, other] = await Promise.all([admin.rotateSigningKey({}), admin.rotateSigningKey({})]);
    expect(other).toEqual(one);
    expect((await admin.rotateSigningKey({})).key).toEqual(one.key);
    expect(await states()).toHaveLength(2);
    service.clock.advance(361 * SECONDS);
    expect((await admin.rotateSigningKey({})).key!.id).not.toBe(one.key!.id);
    expect((await states()).map(([, state]) => state)).toEqual([State.NEXT, State.ACTIVE, State.RETIRED]);
  });

  it("rotate under load without a failed call", async () => {
    const people = [await start(), await service.newPerson(), await service.newPerson()];
    const verifier = lazyVerifier(service);
    await verifier.verify(people[0]!.tokens.accessToken);
    const seen = new Set<string>();
    let isOver = false;
    const loads = people.map(async (person) => {
      const nextToken = refresher(person);
      while (!isOver) {
        const token = await nextToken();
        seen.add(kidOf(token));
        await Promise.all([knows(token), verifier.verify(token)]);
      }
    });
    const { key } = await admin.rotateSigningKey({});
    const loaded = Promise.all(loads).finally(() => {
      isOver = true;
    });
    const rotated = (async () => {
      for (let passedMs = 0; passedMs < 380 * SECONDS && !isOver; passedMs += 10 * SECONDS) {
        service.clock.advance(10 * SECONDS);
        await admin.listSigningKeys({});
      }
      await vi.waitFor(() => expect(seen).toContain(key!.id), { timeout: 5 * SECONDS });
      isOver = true;
    })();
    await Promise.all([loaded, rotated]);
    expect(seen.size).toBe(2);
  });

  it("stop verifying at once when revoked, and users continue with new tokens", async () => {
    const person = await start();
    const nextToken = refresher(person);
    const stolen = kidOf(person.tokens.accessToken);
    const remote = createRemoteJWKSet(new URL(`http://${service.address}/.well-known/jwks.json`), {
      cooldownDuration: 0,
    });
    const keeping = createLocalJWKSet((await fetchKeys(service)).keys);
    const currentDate = () => new Date(service.clock.nowMs());
    await jwtVerify(person.tokens.accessToken, remote, { ...CLAIMS, currentDate: currentDate() });
    const { key } = await admin.revokeSigningKey({ keyId: stolen });
    expect(key).toMatchObject({ id: stolen, state: State.REVOKED, retireTime: expect.anything() });
    expect(await errorOf(knows(person.tokens.accessToken))).toMatchObject({
      code: Code.Unauthenticated,
      reason: "CREDENTIAL_INVALID",
    });
    const token = await nextToken();
    expect(kidOf(token)).not.toBe(stolen);
    await knows(token);
    expect((await fetchKeys(service)).keys.keys.map(({ kid }) => kid)).toEqual([kidOf(token)]);
    // A verifier that fetches the set for an unknown kid knows the new key at once, and no longer the old one.
    await jwtVerify(token, remote, { ...CLAIMS, currentDate: currentDate() });
    const old = jwtVerify(person.tokens.accessToken, remote, { ...CLAIMS, currentDate: currentDate() });
    await expect(old).rejects.toMatchObject({ code: "ERR_JWKS_NO_MATCHING_KEY" });
    // A verifier that keeps the set refuses the new key's tokens and accepts the old one's, until its max-age ends.
    await expect(jwtVerify(token, keeping, CLAIMS)).rejects.toMatchObject({ code: "ERR_JWKS_NO_MATCHING_KEY" });
    await jwtVerify(person.tokens.accessToken, keeping, { ...CLAIMS, currentDate: currentDate() });
    expect((await admin.revokeSigningKey({ keyId: stolen })).key).toEqual(key);
    expect(await states()).toEqual([
      [kidOf(token), State.ACTIVE],
      [stolen, State.REVOKED],
    ]);
  });

  it("sign with the next key when the active one is revoked, and with the active one when the next is revoked", async () => {
    const person = await start();
    const nextToken = refresher(person);
    const first = kidOf(person.tokens.accessToken);
    const cancelled = (await admin.rotateSigningKey({})).key!.id;
    await admin.revokeSigningKey({ keyId: cancelled });
    service.clock.advance(400 * SECONDS);
    expect(kidOf(await nextToken())).toBe(first);
    const next = (await admin.rotateSigningKey({})).key!.id;
    await admin.revokeSigningKey({ keyId: first });
    expect(kidOf(await nextToken())).toBe(next);
    expect((await states()).map(([, state]) => state)).toEqual([State.ACTIVE, State.REVOKED, State.REVOKED]);
  });

  it("are replaced automatically when they are old", async () => {
    const person = await start({ LATCHKEY_SIGNING_KEY_DAYS: "3" });
    const nextToken = refresher(person);
    const first = kidOf(person.tokens.accessToken);
    service.clock.advance(3 * DAYS - 60 * SECONDS);
    // After such a jump the service reads everything again, and abandons a read that takes too long on a busy machine.
    const patiently = () => vi.waitFor(nextToken, { timeout: 5 * SECONDS });
    expect(kidOf(await patiently())).toBe(first);
    expect(await states()).toEqual([[first, State.ACTIVE]]);
    service.clock.advance(60 * SECONDS);
    expect(kidOf(await patiently())).toBe(first);
    await eventually(async () =>
      expect((await states()).map(([, state]) => state)).toEqual([State.NEXT, State.ACTIVE]),
    );
    service.clock.advance(361 * SECONDS);
    const [[newest]] = (await states()) as [[string, State], ...unknown[]];
    expect(kidOf(await patiently())).toBe(newest);
  });
});

describe("signing keys", () => {
  it("of another algorithm take over after a rotation, and tokens of both are valid", async () => {
    await using service = await startTestService({ LATCHKEY_ACCESS_TOKEN_ALGORITHM: "EdDSA" });
    const person = await service.newPerson();
    await service.restart({ LATCHKEY_ACCESS_TOKEN_ALGORITHM: "ES256" });
    const admin = service.client(AdminService, service.admin);
    expect((await admin.rotateSigningKey({})).key).toMatchObject({ algorithm: "ES256", state: State.NEXT });
    service.clock.advance(361 * SECONDS);
    const { tokens } = await service.client(AuthService).refresh({ refreshToken: person.tokens.refreshToken });
    expect(decodeProtectedHeader(tokens!.accessToken).alg).toBe("ES256");
    for (const { accessToken } of [tokens!, person.tokens]) {
      await service.client(AuthService, accessToken).getCurrentUser({});
      await lazyVerifier(service).verify(accessToken);
    }
  });

  it("that do not exist are not found", async () => {
    await using service = await startTestService();
    const admin = service.client(AdminService, service.admin);
    for (const keyId of ["", "none", "a\0b", "A".repeat(43), "key_0123456789abcdef"]) {
      const refused = await errorOf(admin.revokeSigningKey({ keyId }));
      expect(refused).toMatchObject({ code: Code.NotFound, reason: "SIGNING_KEY_NOT_FOUND" });
    }
    expect((await admin.listSigningKeys({})).keys).toEqual([]);
  });
});

describe.runIf(canStart("postgres"))("signing keys of two processes on one database", () => {
  it("are rotated once, published by both, and refused by both after a revocation at one of them", async () => {
    const folder = await mkdtemp(join(tmpdir(), "latchkey-data-"));
    // One data folder, because it contains the development master key and the first operator's credential.
    const settings = { DATABASE_URL: await freshUrl(), LATCHKEY_DATA_DIR: folder };
    await using one = await startTestService(settings);
    await using other = await startTestService(settings);
    const [admin, otherAdmin] = [one, other].map((service) => service.client(AdminService, one.admin));
    // On a busy machine a new process may abandon its first reads, which have a short time limit.
    const { tokens } = await eventually(() => one.newPerson());
    const anyone = other.client(AuthService);
    const knows = () => anyone.getCurrentUser({}, { headers: { authorization: `Bearer ${tokens.accessToken}` } });
    await eventually(knows);
    const [made, same] = await Promise.all([admin!.rotateSigningKey({}), otherAdmin!.rotateSigningKey({})]);
    expect(same.key?.id).toBe(made.key!.id);
    const published = async (service: TestService) => (await fetchKeys(service)).keys.keys.map(({ kid }) => kid);
    const both = [made.key!.id, kidOf(tokens.accessToken)];
    await eventually(async () => expect([await published(one), await published(other)]).toEqual([both, both]));
    await knows();
    await admin!.revokeSigningKey({ keyId: kidOf(tokens.accessToken) });
    await vi.waitFor(async () => expect(await errorOf(knows())).toMatchObject({ code: Code.Unauthenticated }), {
      timeout: 5 * SECONDS,
    });
    expect(await published(other)).toEqual([made.key!.id]);
    const refreshed = await anyone.refresh({ refreshToken: tokens.refreshToken });
    expect(kidOf(refreshed.tokens!.accessToken)).toBe(made.key!.id);
    await rm(folder, { recursive: true, force: true });
  }, 30_000);
});
