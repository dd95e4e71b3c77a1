/** Two workers behind one ops port: a scrape sums the metrics of both, and `/healthz` judges both. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { childrenOf } from "../support/child-process.ts";
import { startFleet } from "../support/fleet.ts";
import { clientOf } from "../support/in-process-service.ts";
import { answerTo } from "../support/measurements.ts";
import { withFault } from "../support/mutant-process.ts";
import { canStart, freshPostgres, freshRedis } from "../support/shared-servers.ts";
import { type IssuedKey, type ReadyService, startService } from "../support/spawned-service.ts";
import { until } from "../support/until.ts";

const CALLS = 20;
/** Number of scrapes. Without a sum, each connection would show the values of one worker only. */
const SCRAPES = 10;
const VERIFIED = 'latchkey_calls_total{method="latchkey.v1.KeyService/VerifyKey",code="OK"}';
/** The control: a scrape shows the values of one worker only. */
const ONE_WORKER = {
  file: "src/rpc/ops/summed-metrics.ts",
  search: "sumOf([...this.#latest.values(), this.#ended])",
  replacement: "sumOf([this.#latest.get(1) ?? []])",
};
const LANE = 'latchkey_lane_calls_total{lane="unary_grpc"}';
const DURATIONS = 'latchkey_call_duration_seconds_count{method="latchkey.v1.KeyService/VerifyKey"}';

describe.skipIf(!canStart("postgres") || !canStart("redis"))("two workers", () => {
  let env: NodeJS.ProcessEnv;
  let service: ReadyService;
  let key: IssuedKey;
  let verifier: string;
  /** Processes that this test has stopped with SIGSTOP. */
  const frozen: number[] = [];

  beforeAll(async () => {
    const servers = { DATABASE_URL: await freshPostgres(), REDIS_URL: await freshRedis() };
    const fleet = await startFleet({ ...servers, LATCHKEY_WORKERS: "2" });
    service = fleet.service;
    env = fleet.env;
    await untilBothAnswer(service);
    const cast = await fleet.cast();
    verifier = cast.verifier;
    [key] = (await cast.issue(1)) as [IssuedKey];
  });
  afterAll(async () => {
    for (const pid of frozen) process.kill(pid, "SIGCONT");
    await service?.stop();
  });

  const get = (path: string, { opsAddress } = service) =>
    fetch(`http://${opsAddress}${path}`, { headers: { connection: "close" } });

  /** Value of a series, 0 if there is none yet. */
  async function figure(series: string, of = service): Promise<number> {
    const text = await (await get("/metrics", of)).text();
    const line = text.split("\n").find((each) => each.startsWith(`${series} `));
    return Number(line?.slice(series.length) ?? 0);
  }

  const untilBothAnswer = (of: ReadyService) =>
    until(async () => (await figure("latchkey_workers_answering", of)) === 2, "both workers answer");

  /** A client on a connection of its own: connections go to the workers in turn. */
  function newCaller(of = service): () => Promise<string> {
    const client = clientOf(of.address, KeyService, verifier);
    return async () => (await answerTo(() => client.verifyKey({ apiKey: key.raw }))).said;
  }

  async function call(callers: readonly (() => Promise<string>)[]): Promise<void> {
    for (const caller of callers) {
      for (let n = 0; n < CALLS; n++) expect(await caller()).toBe("VALID");
    }
  }

  it("have one sum of their calls in /metrics, at each scrape, and lose no count when a worker dies", async () => {
    const [before, beforeOfLane] = [await figure(VERIFIED), await figure(LANE)];
    const callers = [newCaller(), newCaller()];
    await call(callers);
    expect(await figure(LANE)).toBe(beforeOfLane + 2 * CALLS);
    for (let scrape = 0; scrape < SCRAPES; scrape++) {
      expect(await figure(VERIFIED)).toBe(before + 2 * CALLS);
      expect(await figure(DURATIONS)).toBe(before + 2 * CALLS);
    }
    expect(await figure("latchkey_workers_answering")).toBe(2);

    const [victim] = childrenOf(service.pid) as [number];
    process.kill(victim, "SIGKILL");
    await until(async () => !childrenOf(service.pid).includes(victim), "one worker is gone");
    expect((await get("/healthz")).status, "who connects meets the other one").toBe(200);
    expect(await figure(VERIFIED)).toBe(before + 2 * CALLS);
    await untilBothAnswer(service);
    expect(childrenOf(service.pid), "it was replaced").toHaveLength(2);
    expect(await figure(VERIFIED)).toBe(before + 2 * CALLS);
    await call([newCaller(), newCaller()]);
    expect(await figure(VERIFIED)).toBe(before + 4 * CALLS);
  });

  it("would each report only their own calls: the control", async () => {
    await using mutant = await startService(env, withFault(ONE_WORKER));
    await untilBothAnswer(mutant);
    const before = await figure(VERIFIED, mutant);
    await call([newCaller(mutant), newCaller(mutant)]);
    expect(await figure(VERIFIED, mutant)).toBe(before + CALLS);
  });

  it("are unhealthy while one of them stands still, and healthy when it goes on; counters keep their values", async () => {
    await call([newCaller(), newCaller()]);
    const before = await figure(VERIFIED);
    expect((await get("/healthz")).status).toBe(200);
    const [stopped] = childrenOf(service.pid) as [number];
    frozen.push(stopped);
    process.kill(stopped, "SIGSTOP");
    expect((await get("/healthz")).status).toBe(503);
    expect(await figure(VERIFIED)).toBe(before);
    expect(await figure("latchkey_workers_answering")).toBe(1);
    process.kill(stopped, "SIGCONT");
    await until(async () => (await get("/healthz")).status === 200, "it is well again");
    expect(await figure("latchkey_workers_answering")).toBe(2);
  });
});
