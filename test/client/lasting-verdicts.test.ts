/** The verdicts that streams live by, with a moved clock and a service that lags, fails and tells as a test says. */
import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, it } from "vitest";
import { FakePeople } from "../../client/src/fake-people.ts";
import { type AccessTokenVerdict, LatchkeyUnavailable, type Verdict } from "../../client/src/latchkey.ts";
import { Change_Kind as Kind } from "../../src/gen/latchkey/v1/change_pb.ts";
import { NearService, type ServedKey, unavailable } from "./near-service.ts";

const ISSUER = "http://localhost:8080";

/** A client whose stream is up, and what its watches ended with. */
async function makeWorld({ near = true } = {}) {
  const service = new NearService();
  const people = new FakePeople(service.time.clock);
  const options = { near, accessTokens: { issuer: ISSUER, jwksUrl: ISSUER } };
  const latchkey = service.client(options, people.keySet);
  await service.settle();
  const ends: (Verdict | AccessTokenVerdict | LatchkeyUnavailable)[] = [];
  const watch = async ({ raw }: ServedKey, needs: { method?: string } = {}) => {
    const request = { apiKey: raw, ...needs };
    const verdict = latchkey.verify(request);
    await service.settle();
    const unwatch = latchkey.watchKey(request, await verdict, (end) => ends.push(end));
    await service.settle();
    service.verified.length = 0;
    return unwatch;
  };
  const watchToken = async (people: FakePeople) => {
    const token = people.issue({});
    const verdict = latchkey.verifyAccessToken(token.accessToken);
    await service.settle();
    const { valid, ...user } = await verdict;
    expect(valid).toBe(true);
    latchkey.watchAccessToken(token.accessToken, user as never, (end) => ends.push(end));
    // By the verification and by the watch's own first judgement. Signatures take time that no clock of a test moves.
    await expect.poll(() => service.usersAsked).toBe(2);
    await pass(service, 0);
    service.usersAsked = 0;
    return token;
  };
  return { service, people, latchkey, watch, watchToken, ends };
}

/** Lets answers lack the latest change, by position and by age. */
function lag(service: NearService): void {
  service.lag = 1n;
  service.ageMs = 60_000;
}

function catchUp(service: NearService): void {
  service.lag = 0n;
  service.ageMs = 0;
}

/** Tells a change, and follows the calls that it leads to. */
async function change(service: NearService, kind: Kind, id: string): Promise<void> {
  await service.change(kind, id);
  for (let turn = 0; turn < 5; turn++) await service.settle();
}

async function pass(service: NearService, ms: number): Promise<void> {
  await service.time.pass(ms);
  for (let turn = 0; turn < 5; turn++) await service.settle();
}

describe("the verdict that a stream lives by", () => {
  it("lasts while nothing concerns it, without a call", async () => {
    const { service, watch, ends, latchkey } = await makeWorld();
    await watch(service.issue());
    await change(service, Kind.KEY, service.issue().id);
    await change(service, Kind.SERVICE_CREDENTIAL, "svc_other");
    await service.pass(600_000);
    expect([ends, service.verified]).toEqual([[], []]);
    await latchkey.close();
  });

  it.each([
    [Kind.KEY, "id"],
    [Kind.OWNER, "ownerId"],
  ] as const)("is judged again by a call of cost 0 when a change of kind %s is told", async (kind, id) => {
    const { service, watch, ends, latchkey } = await makeWorld();
    const key = service.issue({ perMinute: 1 });
    await watch(key, { method: "/shop.v1.Orders/Watch" });
    await change(service, kind, key[id]);
    expect(service.verified.flat()).toMatchObject([{ apiKey: key.raw, cost: 0, method: "/shop.v1.Orders/Watch" }]);
    expect(ends, "a key whose limit is reached goes on").toEqual([]);
    key.state = "revoked";
    await change(service, kind, key[id]);
    expect(ends).toMatchObject([{ valid: false, verdict: "REVOKED" }]);
    await change(service, kind, key[id]);
    expect(service.verified.flat(), "the watch has ended").toHaveLength(2);
    await latchkey.close();
  });

  it("is judged again after a resync, and after a change of a kind that this version does not know", async () => {
    for (const news of [{ resync: true }, { changes: [{ kind: 99 as Kind, subjectId: "x" }] }]) {
      const { service, watch, ends, latchkey } = await makeWorld();
      const [good, revoked] = [service.issue(), service.issue()];
      await watch(good);
      await watch(revoked);
      revoked.state = "revoked";
      service.position++;
      await service.tell(news);
      await pass(service, 0);
      expect(ends).toMatchObject([{ verdict: "REVOKED" }]);
      expect(service.verified.flat()).toHaveLength(2);
      await latchkey.close();
    }
  });

  it("is asked for each 0.5 s while answers do not know of the change, whatever they say", async () => {
    const { service, watch, ends, latchkey } = await makeWorld();
    const key = service.issue();
    await watch(key);
    lag(service);
    await change(service, Kind.KEY, key.id);
    expect(service.verified).toHaveLength(1);
    for (const [at, state] of (["revoked", "active", "revoked", "active"] as const).entries()) {
      key.state = state;
      await pass(service, 499);
      expect(service.verified).toHaveLength(at + 1);
      await pass(service, 1);
      expect(service.verified).toHaveLength(at + 2);
    }
    expect(ends).toEqual([]);
    catchUp(service);
    await pass(service, 500);
    expect(service.verified).toHaveLength(6);
    await pass(service, 60_000);
    expect([ends, service.verified.length], "it goes on, without further calls").toEqual([[], 6]);
    await latchkey.close();
  });

  it("counts an answer of another epoch once its data were read after the change", async () => {
    const { service, watch, ends, latchkey } = await makeWorld();
    const key = service.issue();
    await watch(key);
    lag(service);
    key.state = "revoked";
    await change(service, Kind.KEY, key.id);
    service.ageMs = 1000;
    for (let at = 0; at < 2; at++) {
      await pass(service, 500);
      expect(ends, "read before").toEqual([]);
    }
    await pass(service, 500);
    expect(ends).toMatchObject([{ verdict: "REVOKED" }]);
    await latchkey.close();
  });

  it("ends with LatchkeyUnavailable if no answer knows of a change within 5 s", async () => {
    const { service, watch, ends, latchkey } = await makeWorld();
    const [one, two] = [service.issue(), service.issue()];
    await watch(one);
    await watch(two);
    service.failure = unavailable();
    await change(service, Kind.KEY, one.id);
    await pass(service, 4999);
    expect(ends).toEqual([]);
    await pass(service, 1);
    expect(ends).toEqual([expect.any(LatchkeyUnavailable)]);
    service.failure = undefined;
    lag(service);
    service.lag = 5n;
    await change(service, Kind.KEY, two.id);
    await pass(service, 2500);
    await change(service, Kind.KEY, two.id);
    await pass(service, 2500);
    expect(ends, "a later change gives no more time").toHaveLength(2);
    await latchkey.close();
  });

  it("must know of a change that was told before it came", async () => {
    const { service, latchkey, ends } = await makeWorld();
    const key = service.issue();
    lag(service);
    const verdict = latchkey.verify({ apiKey: key.raw });
    await change(service, Kind.KEY, key.id);
    const early = await verdict;
    expect(early).toMatchObject({ valid: true, position: 10n });
    key.state = "revoked";
    catchUp(service);
    latchkey.watchKey({ apiKey: key.raw }, early, (end) => ends.push(end));
    await pass(service, 0);
    await pass(service, 500);
    expect(ends).toMatchObject([{ verdict: "REVOKED" }]);
    await latchkey.close();
  });

  it("opens the stream where near verification is off, whose first message judges it again", async () => {
    const { service, watch, ends, latchkey } = await makeWorld({ near: false });
    expect(service.streams).toBe(0);
    const key = service.issue();
    await watch(key);
    expect(service.streams).toBe(1);
    key.state = "revoked";
    await change(service, Kind.KEY, key.id);
    expect(ends).toMatchObject([{ verdict: "REVOKED" }]);
    await latchkey.close();
  });

  it("is one call for all streams of a key with the same needs", async () => {
    const { service, latchkey, watch, ends } = await makeWorld();
    const key = service.issue();
    for (let at = 0; at < 20; at++) await watch(key);
    await watch(key, { method: "/other" });
    await change(service, Kind.KEY, key.id);
    expect(service.verified.flat()).toHaveLength(2);
    key.state = "revoked";
    await change(service, Kind.KEY, key.id);
    expect(ends).toHaveLength(21);
    await latchkey.close();
  });

  it("is judged with at most 99 others at a time", async () => {
    const { service, latchkey, ends } = await makeWorld();
    for (let at = 0; at < 1000; at++) {
      const { raw: apiKey, id, ownerId } = service.issue();
      const verdict = { valid: true, key: { id, ownerId }, epoch: 9n, position: 10n };
      latchkey.watchKey({ apiKey }, verdict as unknown as Verdict, (end) => ends.push(end));
    }
    service.position++;
    await service.tell({ resync: true });
    for (let turn = 0; turn < 50; turn++) await service.settle();
    expect(service.verified.flat()).toHaveLength(1000);
    expect(Math.max(...service.verified.map(({ length }) => length))).toBe(100);
    expect(ends).toEqual([]);
    await latchkey.close();
    expect(ends, "the end of the client ends all").toHaveLength(1000);
  });

  it("is forgotten with the stream: later changes cost nothing, also while an answer is awaited", async () => {
    const { service, watch, ends, latchkey } = await makeWorld();
    const [one, two] = [service.issue(), service.issue()];
    const [unwatchOne, unwatchTwo] = [await watch(one), await watch(two)];
    unwatchOne();
    await change(service, Kind.KEY, one.id);
    expect(service.verified).toEqual([]);
    lag(service);
    await change(service, Kind.KEY, two.id);
    unwatchTwo();
    await pass(service, 60_000);
    expect([ends, service.verified.length]).toEqual([[], 1]);
    await latchkey.close();
  });
});

describe("the access token that a stream lives by", () => {
  it("lasts until its session is told as ended", async () => {
    const { service, people, watchToken, ends, latchkey } = await makeWorld();
    const { sessionId } = await watchToken(people);
    await change(service, Kind.SESSION, "ses_other");
    await service.pass(20_000);
    expect(ends).toEqual([]);
    await change(service, Kind.SESSION, sessionId);
    await expect.poll(() => ends).toEqual([{ valid: false }]);
    await latchkey.close();
  });

  it("is judged at once after news of signing keys, and once more when each process must know them", async () => {
    const { service, people, watchToken, ends, latchkey } = await makeWorld();
    await watchToken(people);
    await change(service, Kind.SIGNING_KEY, "sig_one");
    await expect.poll(() => service.usersAsked).toBe(1);
    await pass(service, 0);
    await service.pass(5000);
    expect([service.usersAsked, ends]).toEqual([1, []]);
    service.failure = new ConnectError("the key was revoked", Code.Unauthenticated);
    await pass(service, 1000);
    await expect.poll(() => ends).toEqual([{ valid: false }]);
    await latchkey.close();
  });

  it("ends with LatchkeyUnavailable if it can't be judged again within 5 s", async () => {
    const { service, people, watchToken, ends, latchkey } = await makeWorld();
    await watchToken(people);
    service.failure = unavailable();
    await change(service, Kind.SIGNING_KEY, "sig_one");
    await pass(service, 5000);
    expect(ends).toEqual([expect.any(LatchkeyUnavailable)]);
    await latchkey.close();
  });
});
