/** Near verification with the real service: the time to the refusal of a revoked key, whatever lies between. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import type { Transport } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { createLatchkey, createLatchkeyOf, type Latchkey } from "../../client/src/latchkey.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { type Clock, SkippingClock } from "../../src/lib/clock.ts";
import { type FaultProxy, startFaultProxy } from "../support/fault-proxy.ts";
import { type Fleet, startFleet, startProxyTo } from "../support/fleet.ts";
import { heapSnapshot } from "../support/heap.ts";
import { clientOf } from "../support/in-process-service.ts";
import { quantile, report } from "../support/measurements.ts";
import { canStart, freshPostgres, freshRedis } from "../support/shared-servers.ts";
import type { Cast, IssuedKey } from "../support/spawned-service.ts";
import { letPass, until } from "../support/until.ts";

const USUAL_MS = 1000;
/** 5 s, and 1 s that each clock may fail to notice of a suspension. */
const BOUND_MS = 7000;
const SAMPLES = 40;
const HOUR_MS = 3_600_000;
/** Keys with limits are judged near only if they are counted afterwards. */
const NEAR = { counting: "after" } as const;

describe.skipIf(!canStart("postgres") || !canStart("redis"))("a client that verifies near", () => {
  let fleet: Fleet;
  let cast: Cast;
  let proxy: FaultProxy;
  /** Between the second process and PostgreSQL. */
  let toDatabase: FaultProxy;
  let port: number;
  const clients: Latchkey[] = [];

  beforeAll(async () => {
    const url = await freshPostgres();
    const linked = await startProxyTo(url);
    toDatabase = linked.proxy;
    const settings = { DATABASE_URL: url, REDIS_URL: await freshRedis(), LATCHKEY_KEYS_PER_OWNER: "1000" };
    fleet = await startFleet(settings, [{}, { DATABASE_URL: linked.url }]);
    cast = await fleet.cast();
    port = Number(new URL(`http://${fleet.service.address}`).port);
    proxy = await startFaultProxy(port);
  });
  afterAll(async () => {
    for (const client of clients) await client.close();
    await proxy?.stop();
    await fleet?.stop();
    await toDatabase?.stop();
  });

  /** A client through the proxy, ready. */
  async function throughProxy(): Promise<Latchkey> {
    await proxy.restore();
    return ready(createLatchkey({ baseUrl: `http://127.0.0.1:${proxy.port}`, credential: cast.verifier, near: NEAR }));
  }

  async function ready(latchkey: Latchkey): Promise<Latchkey> {
    clients.push(latchkey);
    await latchkey.ready();
    return latchkey;
  }

  /** A key that the client accepts near. */
  async function nearKey(latchkey: Latchkey): Promise<IssuedKey> {
    const [key] = (await cast.issue(1)) as [IssuedKey];
    await until(async () => {
      const { source } = await latchkey.verify({ apiKey: key.raw });
      return source === "near";
    }, "it is accepted near");
    // The news of its issue makes the client ask about its limits once more.
    await letPass(300, "the news of its issue has come");
    await until(async () => (await latchkey.verify({ apiKey: key.raw })).source === "near", "it is accepted near");
    return key;
  }

  async function revoke(key: IssuedKey): Promise<number> {
    await clientOf(fleet.service.address, KeyService, cast.admin).revokeKey({ keyId: key.id });
    return performance.now();
  }

  /** The time from a revocation until the key is no longer accepted near. */
  async function acceptedForMs(latchkey: Latchkey, key: IssuedKey, revokedAtMs: number): Promise<number> {
    for (;;) {
      const verdict = latchkey.verifySync({ apiKey: key.raw });
      const afterMs = performance.now() - revokedAtMs;
      if (verdict?.valid !== true) return afterMs;
      expect(afterMs, "still accepted").toBeLessThan(BOUND_MS);
      await letPass(2, "asks again at a steady pace");
    }
  }

  /** Nothing accepts the key from the bound on, with or without a call. */
  async function expectRefused(latchkey: Latchkey, key: IssuedKey): Promise<void> {
    for (let at = 0; at < 20; at++) {
      expect(latchkey.verifySync({ apiKey: key.raw })?.valid ?? false).toBe(false);
      await letPass(10, "asks again at a steady pace");
    }
    const verdict = await latchkey.verify({ apiKey: key.raw }).catch((error: Error) => error.name);
    expect(verdict === "LatchkeyUnavailable" || (verdict as { valid: boolean }).valid === false).toBe(true);
  }

  it("refuses a revoked key within 1 s, 99 of 100 times", async () => {
    const latchkey = await throughProxy();
    const times: number[] = [];
    const keys = await Promise.all(Array.from({ length: SAMPLES }, () => nearKey(latchkey)));
    for (const key of keys) {
      times.push(await acceptedForMs(latchkey, key, await revoke(key)));
    }
    report("revocation to refusal near", times);
    expect(quantile(times, 0.99)).toBeLessThan(USUAL_MS);
  });

  it.each<[what: string, fault: () => unknown]>([
    ["frozen", () => proxy.hang("answers")],
    ["cut", () => proxy.cut()],
    ["delayed by 10 s", () => proxy.delay(10_000)],
  ])("never accepts it after the bound while its connection is %s, and recovers", async (_, fault) => {
    const latchkey = await throughProxy();
    const key = await nearKey(latchkey);
    const witness = await nearKey(latchkey);
    await fault();
    const revokedAtMs = await revoke(key);
    const acceptedMs = await acceptedForMs(latchkey, key, revokedAtMs);
    // The fault happened: nothing told the client of the revocation.
    expect(acceptedMs).toBeGreaterThan(USUAL_MS);
    await expectRefused(latchkey, key);
    await proxy.restore();
    await until(async () => {
      const verdict = await latchkey.verify({ apiKey: witness.raw }).catch(() => undefined);
      return verdict?.source === "near" && verdict.valid;
    }, "the witness is accepted near again");
    expect(await latchkey.verify({ apiKey: key.raw })).toMatchObject({ verdict: "REVOKED" });
  });

  it("refuses it where another process has taken the place of its own", async () => {
    const latchkey = await throughProxy();
    const key = await nearKey(latchkey);
    proxy.lead(Number(new URL(`http://${fleet.processes[1]!.address}`).port));
    const revokedAtMs = await revoke(key);
    expect(await acceptedForMs(latchkey, key, revokedAtMs)).toBeLessThan(BOUND_MS);
    await expectRefused(latchkey, key);
    proxy.lead(port);
  });

  it.each([HOUR_MS, -HOUR_MS])("refuses it with a wall clock that is %d ms off, and steps", async (offMs) => {
    let addedMs = offMs;
    const host: Clock = { nowMs: () => Date.now() + addedMs, monotonicMs: () => performance.now() };
    const options = { baseUrl: `http://${fleet.service.address}`, credential: cast.verifier, near: NEAR };
    const latchkey = await ready(createLatchkeyOf(options, { clock: new SkippingClock(host) }));
    const key = await nearKey(latchkey);
    const revokedAtMs = await revoke(key);
    expect(await acceptedForMs(latchkey, key, revokedAtMs)).toBeLessThan(BOUND_MS);
    const other = await nearKey(latchkey);
    addedMs = -offMs;
    expect(await acceptedForMs(latchkey, other, await revoke(other))).toBeLessThan(BOUND_MS);
    await expectRefused(latchkey, other);
    // Near verification goes on by the new clock.
    await nearKey(latchkey);
  });

  it("keeps no answer of a process that is behind, and so never accepts it for ever", async () => {
    const [ahead, behind] = fleet.processes.map(({ address }) => createGrpcTransport({ baseUrl: `http://${address}` }));
    const transport: Transport = {
      unary: (...args) => behind!.unary(...args),
      stream: (...args) => ahead!.stream(...args),
    };
    const latchkey = await ready(
      createLatchkey({ transport, credential: cast.verifier, near: NEAR, deadlineMs: 5000 }),
    );
    const all = await cast.issue(11);
    // An answer from before the last news is not kept, so a key may have to be asked for again.
    for (const { raw } of all) {
      const isKept = async () => {
        expect(await latchkey.verify({ apiKey: raw })).toMatchObject({ valid: true });
        return latchkey.verifySync({ apiKey: raw }) !== undefined;
      };
      await expect.poll(isKept).toBe(true);
    }
    const [other, ...keys] = all as [IssuedKey, ...IssuedKey[]];
    toDatabase.hang();
    onTestFinished(() => toDatabase.restore());
    const accepted: boolean[] = [];
    for (const key of keys) {
      const revokedAtMs = await revoke(key);
      // The other key shows that the stream is fresh: only news of this key can have dropped its record.
      const isTold = () =>
        latchkey.verifySync({ apiKey: other.raw }) !== undefined &&
        latchkey.verifySync({ apiKey: key.raw }) === undefined;
      await until(isTold, "the client was told");
      // The process that is behind still accepts the key, for at most 5 s.
      const verdict = await latchkey.verify({ apiKey: key.raw }).catch(() => undefined);
      accepted.push(verdict?.valid === true && verdict.source === "service");
      expect(latchkey.verifySync({ apiKey: key.raw })?.valid ?? false).toBe(false);
      expect(performance.now() - revokedAtMs).toBeLessThan(BOUND_MS);
    }
    await toDatabase.restore();
    expect(accepted, "the process was behind").toContain(true);
    for (const key of keys) await expectRefused(latchkey, key);
  });

  it("counts afterwards, and three clients admit about L together, never more than the bound", async () => {
    const [key] = (await cast.issue(1, 200)) as [IssuedKey];
    const make = () =>
      ready(createLatchkey({ baseUrl: `http://${fleet.service.address}`, credential: cast.verifier, near: NEAR }));
    const three = await Promise.all([make(), make(), make()]);
    let admitted = 0;
    let near = 0;
    const untilDenied = async (latchkey: Latchkey) => {
      for (let denied = 0; denied < 20; ) {
        const { valid, source } = await latchkey.verify({ apiKey: key.raw });
        if (valid) admitted++;
        if (valid && source === "near") near++;
        if (!valid) denied++;
        await letPass(1, "calls come at a steady pace");
      }
    };
    await Promise.all(three.map(untilDenied));
    expect(near).toBeGreaterThan(50);
    expect(admitted).toBeGreaterThanOrEqual(200);
    // The bound is 2 * 0.9 * 200 more. Reports that are answered keep it far below: 201 in the first run.
    expect(admitted).toBeLessThan(260);
  });

  describe("as a process", () => {
    let child: ChildProcess;
    let output = "";
    let asked = 0;

    beforeAll(async () => {
      child = spawn(process.execPath, ["--inspect=127.0.0.1:0", "test/support/near-client.ts"], {
        env: {
          ...process.env,
          LATCHKEY_URL: `http://${fleet.service.address}`,
          LATCHKEY_CREDENTIAL: cast.verifier,
          LATCHKEY_NEAR: JSON.stringify(NEAR),
        },
        stdio: ["pipe", "pipe", "pipe"],
      });
      process.once("exit", () => child.kill("SIGKILL"));
      const read = (chunk: Buffer) => {
        output += chunk;
      };
      child.stdout!.on("data", read);
      child.stderr!.on("data", read);
      await until(() => output.includes("ready\n"), "the client is ready");
    });
    afterAll(async () => {
      child.kill("SIGCONT");
      child.kill("SIGKILL");
      await once(child, "close");
    });

    /** @throws Error with the name of the child's error */
    async function ask<T>(op: string, text = ""): Promise<T> {
      const id = ++asked;
      child.stdin!.write(`${JSON.stringify({ id, op, text })}\n`);
      const answer = () => output.split("\n").find((line) => line.startsWith(`{"id":${id},`));
      await until(() => answer() !== undefined, "the client answers");
      const { value, error } = JSON.parse(answer()!) as { value: T; error?: string };
      if (error !== undefined) throw new Error(error);
      return value;
    }

    it("keeps no raw key and no access token in memory after the call", async () => {
      const [key] = (await cast.issue(1)) as [IssuedKey];
      expect(await ask("verify", key.raw)).toBe("VALID");
      expect(await ask("token", cast.ownerToken)).toBe(true);
      // The last line that was read stays in the buffers of the input.
      for (let at = 0; at < 20; at++) await ask("last");
      const snapshot = await heapSnapshot({ output: () => output });
      expect(snapshot, "the control: it has the texts of a heap").toContain("latchkey.v1.KeyService");
      expect(snapshot, "the control: its own credential is an option").toContain(cast.verifier);
      expect(snapshot.includes(key.raw), "the raw key").toBe(false);
      expect(snapshot.includes(key.raw.slice(-49)), "the secret").toBe(false);
      expect(snapshot.includes(cast.ownerToken), "the access token").toBe(false);
    });

    it("does not accept a key that was revoked while it stood still", async () => {
      const [key] = (await cast.issue(1)) as [IssuedKey];
      expect(await ask("verify", key.raw)).toBe("VALID");
      await ask("watch", key.raw);
      await until(async () => (await ask<number>("last")) > Date.now() - 100, "it is accepted near");
      child.kill("SIGSTOP");
      const stoppedAtMs = Date.now();
      await revoke(key);
      await letPass(30_000, "the process stands still for longer than the bound");
      child.kill("SIGCONT");
      await letPass(1000, "it would accept the key now");
      expect(await ask<number>("last")).toBeLessThan(stoppedAtMs + 100);
      // Its connection may have ended meanwhile, so that a call fails.
      const verdict = () => ask("verify", key.raw).catch(() => "no verdict");
      await until(async () => (await verdict()) === "REVOKED", "it is refused");
      expect(await ask<number>("last")).toBeLessThan(stoppedAtMs + 100);
    });
  });
});
