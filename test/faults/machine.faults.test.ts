/** Faults of the machine itself: a full pipe, a full disk, a wrong clock, a process that stands still. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, openSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { freePort, procStat } from "../support/child-process.ts";
import { startFleet } from "../support/fleet.ts";
import { clientOf, PASSWORD } from "../support/in-process-service.ts";
import { answerTo, tally } from "../support/measurements.ts";
import { canStart, freshPostgres, freshRedis } from "../support/shared-servers.ts";
import { type Cast, type IssuedKey, type ReadyService, startService } from "../support/spawned-service.ts";
import { letPass, until } from "../support/until.ts";

const HOUR_MS = 3_600_000;
const EXIT_WITHIN_MS = 15_000;
/** Duration of the standstill, longer than FRESH_MS: the maximum age of a copy in use. */
const STILL_MS = 10_000;
const FRESH_MS = 5000;
/** Number of log lines. A pipe, its reader's buffer and the log's own buffer hold far fewer. */
const LINES = 10_000;

describe.skipIf(!canStart("postgres") || !canStart("redis"))("a service on a machine", () => {
  let env: NodeJS.ProcessEnv;
  let service: ReadyService;
  let cast: Cast;

  beforeAll(async () => {
    const fleet = await startFleet({
      DATABASE_URL: await freshPostgres(),
      REDIS_URL: await freshRedis(),
      LATCHKEY_REPLICAS: "3",
      LATCHKEY_KEYS_PER_OWNER: "1000",
    });
    service = fleet.service;
    env = fleet.env;
    cast = await fleet.cast();
  });
  afterAll(() => service?.stop());

  const askAt = (address: string, key: IssuedKey, cost = 0) =>
    answerTo(() => clientOf(address, KeyService, cast.verifier).verifyKey({ apiKey: key.raw, cost }));

  /** Starts a service with this standard output, and waits until it answers. Its log may be unreadable. */
  async function withOutput(stdout: "pipe" | number) {
    const [address, opsAddress] = [`127.0.0.1:${await freePort()}`, `127.0.0.1:${await freePort()}`];
    const child = spawn(process.execPath, ["src/main.ts"], {
      env: { ...env, LATCHKEY_LISTEN: address, LATCHKEY_OPS_LISTEN: opsAddress },
      stdio: ["ignore", stdout, "ignore"],
    });
    process.once("exit", () => child.kill("SIGKILL"));
    const [key] = (await cast.issue(1)) as [IssuedKey];
    await until(async () => (await askAt(address, key)).said === "VALID", "it answers");
    /** Number of lines of its log that it knows to be lost. */
    const lost = async () => {
      const text = await (await fetch(`http://${opsAddress}/metrics`)).text();
      return Number(/^latchkey_log_lines_dropped_total (\d+)$/m.exec(text)?.[1]);
    };
    return { child, address, lost };
  }

  /** Makes refused calls, each of which leaves a line in the log. */
  async function makeLines(address: string, lines: number): Promise<void> {
    const stranger = clientOf(address, KeyService, "not a credential");
    for (let line = 0; line < lines; line += 100) {
      const answers = Array.from({ length: 100 }, () => answerTo(() => stranger.verifyKey({ apiKey: "junk" })));
      expect(tally(await Promise.all(answers))).toEqual({ Unauthenticated: 100 });
    }
  }

  async function endInTime(child: ChildProcess): Promise<number | null> {
    const gone = once(child, "exit");
    child.kill("SIGTERM");
    const outcome = await Promise.race([gone, pause(EXIT_WITHIN_MS, undefined)]);
    if (outcome === undefined) child.kill("SIGKILL");
    return outcome === undefined ? Number.NaN : child.exitCode;
  }

  it("serves while its standard output is not read, and ends at a signal", async () => {
    const { child, address, lost } = await withOutput("pipe");
    const [key] = (await cast.issue(1)) as [IssuedKey];
    expect(await lost()).toBe(0);
    await makeLines(address, LINES);
    expect(await lost()).toBeGreaterThan(0);
    expect((await askAt(address, key)).said).toBe("VALID");
    expect(await endInTime(child)).toBe(0);
    // The fault happened: some lines were read, but not all.
    let text = "";
    for await (const chunk of child.stdout!) text += chunk;
    const read = text.split("\n").filter((line) => line.includes("CREDENTIAL_INVALID")).length;
    expect(read).toBeGreaterThan(0);
    expect(read).toBeLessThan(LINES);
  });

  it.skipIf(!existsSync("/dev/full"))("whose log's disk is full goes on serving, and ends at a signal", async () => {
    const full = openSync("/dev/full", "w");
    const { child, address, lost } = await withOutput(full);
    closeSync(full);
    const [key] = (await cast.issue(1)) as [IssuedKey];
    await makeLines(address, 1000);
    expect(await lost()).toBeGreaterThan(1000);
    expect((await askAt(address, key)).said).toBe("VALID");
    expect(await endInTime(child)).toBe(0);
  });

  it.each([
    ["forward", HOUR_MS],
    ["back", -HOUR_MS],
  ])("whose clock jumps an hour %s judges expiry, sessions and limits as before", async (_, shiftMs) => {
    await using shifted = await startService(env, ["--import", shiftedClock(shiftMs)]);
    const owner = clientOf(service.address, KeyService, cast.ownerToken);
    const issue = async (lifeMs: number) => {
      const expireTime = timestampFromMs(Date.now() + lifeMs);
      const { key, apiKey } = await owner.issueKey({ name: "ends", expireTime });
      return { id: key!.id, raw: apiKey };
    };
    const [living, ending, limited] = [await issue(HOUR_MS / 2), await issue(3000), (await cast.issue(1, 5))[0]!];
    const email = `clock${shiftMs}@example.com`;
    const { tokens } = await clientOf(service.address, AuthService).register({ email, password: PASSWORD });
    expect((await askAt(shifted.address, ending)).said).toBe("VALID");
    expect((await askAt(shifted.address, limited, 1)).said).toBe("VALID");

    shifted.signal("SIGUSR2");
    // The fault happened: the times in its log show it.
    const stranger = clientOf(shifted.address, KeyService, "not a credential");
    await until(async () => {
      await answerTo(() => stranger.verifyKey({ apiKey: "junk" }));
      return Math.abs(lastLogMs(shifted) - Date.now() - shiftMs) < HOUR_MS / 2;
    }, "its clock is wrong");

    for (let call = 0; call < 4; call++) expect((await askAt(shifted.address, limited, 1)).said).toBe("VALID");
    expect((await askAt(shifted.address, limited, 1)).said).toBe("RATE_LIMITED");
    for (const { address } of [service, shifted]) {
      expect((await askAt(address, living)).said).toBe("VALID");
      await until(async () => (await askAt(address, ending)).said === "EXPIRED", "the key's time is over");
      expect((await askAt(address, living)).said).toBe("VALID");
    }
    // Each process accepts the tokens of the other.
    const here = clientOf(shifted.address, AuthService, tokens!.accessToken);
    expect((await here.getCurrentUser({})).user?.email).toBe(email);
    const again = await clientOf(shifted.address, AuthService).login({ email, password: PASSWORD });
    const there = clientOf(service.address, AuthService, again.tokens!.accessToken);
    expect((await there.getCurrentUser({})).user?.email).toBe(email);
    // The process still learns of changes.
    await owner.revokeKey({ keyId: living.id });
    await expect.poll(async () => (await askAt(shifted.address, living)).said, { timeout: 5000 }).toBe("REVOKED");
  });

  it("answers all calls in flight correctly after it has stood still for 2 s", async () => {
    const keys = await cast.issue(40);
    const client = clientOf(service.address, KeyService, cast.verifier);
    const tookMs: number[] = [];
    for (let round = 0; round < 4; round++) {
      const cold = keys.slice(round * 10, round * 10 + 10);
      const answers = cold.map((key) => answerTo(() => client.verifyKey({ apiKey: key.raw })));
      // At that moment some of the calls wait for PostgreSQL or Redis.
      await letPass(round, "the calls are under way, each round at another point");
      service.signal("SIGSTOP");
      await until(async () => procStat(service.pid)?.state === "T", "it stands still");
      await letPass(2000, "the process stands still for as long");
      service.signal("SIGCONT");
      const told = await Promise.all(answers);
      expect(tally(told)).toEqual({ VALID: told.length });
      expect(told.filter(({ response }) => response!.degraded)).toEqual([]);
      tookMs.push(...told.map((answer) => answer.tookMs));
    }
    // The fault happened: some calls waited. Not in each round, because ten calls may need only a few milliseconds.
    expect(tookMs.filter((ms) => ms > 1500).length).toBeGreaterThan(5);
  });

  it("accepts no key that was revoked while it stood still for longer than a copy may be old", async () => {
    await using other = await startService(env);
    const keys = await cast.issue(20);
    const revoked = keys.filter((_, n) => n % 2 === 0);
    const askAll = () => Promise.all(keys.map((key) => askAt(service.address, key)));
    // Now the process has all keys in memory.
    expect(tally(await askAll())).toEqual({ VALID: keys.length });
    service.signal("SIGSTOP");
    await until(async () => procStat(service.pid)?.state === "T", "it stands still");
    const stillFromMs = performance.now();
    const owner = clientOf(other.address, KeyService, cast.ownerToken);
    for (const { id } of revoked) await owner.revokeKey({ keyId: id });
    // The calls come on new connections while it stands still, so that it meets them first.
    const waiting = askAll();
    await letPass(STILL_MS - (performance.now() - stillFromMs), "the process stands still for as long");
    expect(procStat(service.pid)?.state).toBe("T");
    service.signal("SIGCONT");
    const told = [...(await waiting), ...(await askAll())];
    // The fault happened: the first calls waited longer than a copy may be old.
    expect(Math.min(...told.slice(0, keys.length).map(({ tookMs }) => tookMs))).toBeGreaterThan(FRESH_MS);
    const isRevoked = (n: number) => revoked.includes(keys[n % keys.length]!);
    expect(tally(told.filter((_, n) => isRevoked(n)))).toEqual({ REVOKED: 2 * revoked.length });
    // The control: the same process accepts the keys that were not revoked.
    expect(tally(told.filter((_, n) => !isRevoked(n)))).toEqual({ VALID: 2 * (keys.length - revoked.length) });
  });
});

/** A module that makes the clock of a process jump at SIGUSR2. */
function shiftedClock(byMs: number): string {
  const code = `
    const System = Date;
    let shiftMs = 0;
    process.on("SIGUSR2", () => { shiftMs = ${byMs}; });
    globalThis.Date = class extends System {
      constructor(...given) { if (given.length === 0) super(System.now() + shiftMs); else super(...given); }
      static now() { return System.now() + shiftMs; }
    };`;
  return `data:text/javascript,${encodeURIComponent(code)}`;
}

function lastLogMs(service: ReadyService): number {
  const lines = service
    .output()
    .split("\n")
    .filter((line) => line.startsWith("{"));
  return Date.parse((JSON.parse(lines.at(-1)!) as { time: string }).time);
}
