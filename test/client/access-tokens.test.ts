/** Access tokens by their signature and the stream, with a moved clock. */
import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, it } from "vitest";
import { FakePeople } from "../../client/src/fake-people.ts";
import { LatchkeyUnavailable } from "../../client/src/latchkey.ts";
import { Change_Kind as Kind } from "../../src/gen/latchkey/v1/change_pb.ts";
import { NearService, unavailable } from "./near-service.ts";

const ISSUER = "http://localhost:8080";

/** A client whose key set is in memory, once its stream is up and the key set is proven. */
async function makeWorld({ near = true, settled = true } = {}) {
  const service = new NearService();
  const people = new FakePeople(service.time.clock);
  let loads = 0;
  let loadFailure: Error | undefined;
  const keySet = {
    find: people.keySet.find,
    load: async () => {
      loads++;
      if (loadFailure !== undefined) throw loadFailure;
    },
  };
  const latchkey = service.client({ near, accessTokens: { issuer: ISSUER, jwksUrl: ISSUER } }, keySet);
  await service.settle();
  const verify = async (token: string) => {
    const verdict = latchkey.verifyAccessToken(token);
    await service.settle();
    return verdict;
  };
  /** Lets the time pass after which a key set is believed, and lets it be loaded. */
  const prove = async () => {
    await service.pass(6000);
    await verify(people.issue({}).accessToken);
    service.usersAsked = 0;
  };
  if (settled) await prove();
  const failLoads = (error: Error | undefined) => {
    loadFailure = error;
  };
  return { service, people, latchkey, verify, prove, loads: () => loads, failLoads };
}

describe("an access token", () => {
  it("costs no call while the stream's knowledge is young", async () => {
    const { service, people, verify, latchkey } = await makeWorld();
    const { accessToken, userId, sessionId } = people.issue({});
    for (let at = 0; at < 5; at++) {
      await service.pass(10_000);
      expect(await verify(accessToken)).toMatchObject({ valid: true, userId, sessionId });
    }
    expect(service.usersAsked).toBe(0);
    await latchkey.close();
  });

  it("opens the stream where near verification is off", async () => {
    const { service, people, verify, prove, latchkey } = await makeWorld({ near: false, settled: false });
    expect(service.streams).toBe(0);
    const { accessToken } = people.issue({});
    await verify(accessToken);
    expect([service.streams, service.usersAsked]).toEqual([1, 1]);
    await prove();
    expect(await verify(accessToken)).toMatchObject({ valid: true });
    expect(service.usersAsked).toBe(0);
    await latchkey.close();
  });

  it("of a session that ended is invalid, with the news and whatever is unreachable", async () => {
    const { service, people, verify, latchkey } = await makeWorld();
    const { accessToken, sessionId } = people.issue({});
    expect(await verify(accessToken)).toMatchObject({ valid: true });
    await service.change(Kind.SESSION, sessionId);
    expect(await verify(accessToken)).toEqual({ valid: false });
    service.failure = unavailable();
    await service.time.pass(20_000);
    expect(await verify(accessToken)).toEqual({ valid: false });
    await service.tell({ resync: true });
    expect(await verify(accessToken), "a resync keeps what has ended").toEqual({ valid: false });
    expect(service.usersAsked).toBe(0);
    await latchkey.close();
  });

  it("of a session that ended before the stream began is invalid", async () => {
    const service = new NearService();
    const people = new FakePeople(service.time.clock);
    const { accessToken, sessionId } = people.issue({});
    service.endedSessions.add(sessionId);
    const options = { accessTokens: { issuer: ISSUER, jwksUrl: ISSUER } };
    await using latchkey = service.client(options, people.keySet);
    await service.settle();
    expect(await latchkey.verifyAccessToken(accessToken)).toEqual({ valid: false });
    expect(service.usersAsked).toBe(0);
  });

  it("is asked about where the stream is older than 5 s, and LatchkeyUnavailable without an answer", async () => {
    const { service, people, verify, latchkey } = await makeWorld();
    const { accessToken } = people.issue({});
    service.streamFailure = unavailable();
    await service.time.pass(4900);
    await verify(accessToken);
    expect(service.usersAsked).toBe(0);
    await service.time.pass(200);
    expect(await verify(accessToken)).toMatchObject({ valid: true });
    expect(service.usersAsked).toBe(1);
    service.failure = unavailable();
    await expect(latchkey.verifyAccessToken(accessToken)).rejects.toBeInstanceOf(LatchkeyUnavailable);
    service.failure = new ConnectError("ended", Code.Unauthenticated);
    expect(await verify(accessToken)).toEqual({ valid: false });
    await latchkey.close();
  });

  it("is asked about until the last part after a resync has come", async () => {
    const { service, people, verify, latchkey } = await makeWorld();
    const { accessToken } = people.issue({});
    await service.tell({ resync: true, cursor: "" });
    await verify(accessToken);
    expect(service.usersAsked).toBe(1);
    await latchkey.close();
  });

  it("expires by the database's time, however wrong the clock of this machine is", async () => {
    const { service, people, verify, latchkey } = await makeWorld();
    const { accessToken } = people.issue({ lifetimeMs: 60_000 });
    await service.pass(58_000);
    expect(await verify(accessToken)).toMatchObject({ valid: true });
    await service.pass(4000);
    expect(await verify(accessToken)).toEqual({ valid: false });
    expect(service.usersAsked).toBe(0);
    await latchkey.close();
  });

  it("is asked about while its end is within the uncertainty of the time", async () => {
    const { service, people, verify, latchkey } = await makeWorld();
    // Whole seconds of the clock: the end is exactly now.
    const { accessToken } = people.issue({ lifetimeMs: 1000 });
    await service.time.pass(999);
    const before = service.usersAsked;
    await verify(accessToken);
    expect(service.usersAsked - before).toBe(1);
    await latchkey.close();
  });
});

describe("the key set", () => {
  it("is loaded again after news of signing keys, and believed only if it was loaded 6 s later", async () => {
    const { service, people, verify, loads, failLoads, latchkey } = await makeWorld();
    const { accessToken } = people.issue({});
    const before = loads();
    await service.change(Kind.SIGNING_KEY, "kid");
    await service.pass(5000);
    await verify(accessToken);
    expect([service.usersAsked, loads()]).toEqual([1, before]);
    failLoads(new Error("unreachable"));
    await service.pass(1000);
    await verify(accessToken);
    expect([service.usersAsked, loads()]).toEqual([2, before + 1]);
    await verify(accessToken);
    expect(loads(), "at most one load a second").toBe(before + 1);
    failLoads(undefined);
    await service.pass(1000);
    await verify(accessToken);
    expect([service.usersAsked, loads()]).toEqual([4, before + 2]);
    await verify(accessToken);
    expect(service.usersAsked).toBe(4);
    await latchkey.close();
  });

  it.each([{ resync: true }, { changes: [{ kind: 99 as Kind, subjectId: "x" }] }])(
    "counts as old after %o, because it may be",
    async (message) => {
      const { service, people, verify, latchkey } = await makeWorld();
      await service.tell(message);
      await service.pass(1000);
      await verify(people.issue({}).accessToken);
      expect(service.usersAsked).toBe(1);
      await latchkey.close();
    },
  );
});
