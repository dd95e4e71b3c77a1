import type { Redis } from "ioredis";
import { CALLS_PER_CONNECTION, CONNECTIONS, each, repeat } from "./closed-loop.ts";
import { processCpuUs, redisCpuUs } from "./cpu.ts";
import { Disturbed, undisturbed } from "./disturbed.ts";
import { openLoop } from "./open-loop.ts";
import { median, quantile, type Rounds, spread } from "./rounds.ts";
import type { Row } from "./rows.ts";

/** One line of the table. If a call carries several keys, the figures are for one key. */
export interface Figures {
  readonly name: string;
  readonly perSecond: number;
  /** CPU time of the process under test, all its threads. */
  readonly serverUs: number;
  readonly serverUsRounds: Rounds;
  /** The spread of `serverUsRounds`. */
  readonly spread: number;
  readonly redisUs: number | undefined;
  /** Latencies at the rates that leave the row's server time to spare. */
  readonly latencies: readonly Latency[];
}

/** Latency of calls at a fixed rate. */
export interface Latency {
  /** Calls per second. */
  readonly rate: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p99MsRounds: Rounds;
}

export interface MeasureOptions {
  readonly rows: readonly Row[];
  readonly redis: Redis | undefined;
  readonly isH2load: boolean;
  /** Number of measured rounds. One more round comes before them, to warm up. */
  readonly rounds: number;
  readonly warmUpCalls: number;
  /** Approximate time of one row in one round: short, so that the rows of a round are of one moment. */
  readonly seconds: number;
  /** Time before `seconds` that does not count: a process that was idle first tidies its heap when it gets work. */
  readonly leadSeconds: number;
  /** Calls per second at which latency is measured. */
  readonly latencyRates: readonly number[];
  readonly latencyRounds: number;
  /** Time for which calls count, long enough for a p99. */
  readonly latencySeconds: number;
  readonly latencyLeadSeconds: number;
  readonly progress: (line: string) => void;
}

interface Sample {
  readonly perSecond: number;
  readonly serverUs: number;
  readonly redisUs: number | undefined;
}

/** Share of the warm-up calls for a batch, because a call that carries many keys warms up more. */
const WARM_UP_SHARE_OF_BATCH = 0.2;
const LEAST_CALLS = 200;
/** Minimum ratio of capacity to rate: with less, the latency is that of a queue. */
const LEAST_ROOM = 2;
/** Calls at a time of cold rows. More would make reads time out: one on the embedded database takes 1 ms. */
const COLD_CALLERS = 16;

/**
 * Measures all rows in turns, round by round, and takes the median of the rounds. So a short disturbance of the machine
 * affects all rows.
 *
 * @returns the figures, without the rows that the machine disturbed in every try
 * @throws Error for the first answer that is not what its row expects
 */
export async function measureRows(options: MeasureOptions): Promise<readonly Figures[]> {
  const samples = await measureLoads(options);
  const measured = [...samples].filter(([, rounds]) => rounds.some((sample) => sample !== undefined));
  const figures = new Map(measured.map(([row, rounds]) => [row, figuresOf(row, rounds)]));
  const latencies: (Latency & { row: Row })[] = [];
  for (const rate of options.latencyRates) latencies.push(...(await measureLatencies(options, figures, rate)));
  return [...figures].map(([row, all]) => ({
    ...all,
    latencies: latencies.filter((latency) => latency.row === row).map(({ row: _, ...latency }) => latency),
  }));
}

/** One sample for each row and round. A sample is undefined if the machine disturbed every try. */
async function measureLoads(options: MeasureOptions): Promise<ReadonlyMap<Row, readonly (Sample | undefined)[]>> {
  const samples = new Map(options.rows.map((row) => [row, [] as (Sample | undefined)[]]));
  const rates = new Map<Row, number>();
  for (let round = 0; round <= options.rounds; round++) {
    for (const row of options.rows) {
      options.progress(`${round === 0 ? "warm-up" : `round ${round} of ${options.rounds}`}: ${row.name}`);
      const sample = await undisturbed(options.progress, () => measureOnce(options, row, round, rates.get(row)));
      if (sample !== undefined) rates.set(row, sample.perSecond);
      if (round > 0) samples.get(row)!.push(sample);
    }
  }
  return samples;
}

function figuresOf(row: Row, rounds: readonly (Sample | undefined)[]): Omit<Figures, "latencies"> {
  const samples = rounds.filter((sample) => sample !== undefined);
  const serverUs = samples.map((sample) => sample.serverUs);
  return {
    name: row.name,
    perSecond: median(samples.map((sample) => sample.perSecond)),
    serverUs: median(serverUs),
    serverUsRounds: rounds.map((sample) => sample?.serverUs),
    spread: spread(serverUs),
    redisUs: row.usesRedis ? median(samples.map((sample) => sample.redisUs ?? 0)) : undefined,
  };
}

/** @param keysPerSecond the rate of the round before; undefined for the warm-up */
async function measureOnce(
  options: MeasureOptions,
  row: Row,
  round: number,
  keysPerSecond: number | undefined,
): Promise<Sample> {
  const { redis, isH2load, seconds, leadSeconds } = options;
  const load = (forSeconds: number) =>
    named(row, () => {
      if (isCold(row)) return each(row.server.port, share(row, round, options.rounds + 1), COLD_CALLERS);
      const calls = keysPerSecond === undefined ? warmUpCalls(options, row) : (keysPerSecond / row.keys) * forSeconds;
      return repeat(row.server.port, row.rpcs[0]!, wholeRounds(calls), isH2load);
    });
  if (round > 0 && !isCold(row)) await load(leadSeconds);
  const before = { server: processCpuUs(row.server.pid), redis: redis && (await redisCpuUs(redis)) };
  const { calls, seconds: tookSeconds } = await load(seconds);
  const keys = calls * row.keys;
  return {
    perSecond: keys / tookSeconds,
    serverUs: (processCpuUs(row.server.pid) - before.server) / keys,
    redisUs: redis && ((await redisCpuUs(redis)) - before.redis!) / keys,
  };
}

/** Whether no call may repeat an earlier one. Then no call can be made to warm up either. */
function isCold(row: Row): boolean {
  return row.rpcs.length > 1;
}

function warmUpCalls(options: MeasureOptions, row: Row): number {
  return options.warmUpCalls * (row.keys > 1 ? WARM_UP_SHARE_OF_BATCH : 1);
}

/** The calls of a cold row that this round may use: none is used twice. */
function share(row: Row, round: number, rounds: number): Row["rpcs"] {
  const size = Math.floor(row.rpcs.length / rounds);
  return row.rpcs.slice(round * size, (round + 1) * size);
}

/** Rounds the number of calls up, so that every caller makes the same number. */
function wholeRounds(calls: number): number {
  const callers = CONNECTIONS * CALLS_PER_CONNECTION;
  return Math.ceil(Math.max(calls, LEAST_CALLS) / callers) * callers;
}

/** Measures latency in rounds: the median of each round's p50 and p99. */
async function measureLatencies(
  options: MeasureOptions,
  figures: ReadonlyMap<Row, { perSecond: number }>,
  rate: number,
): Promise<(Latency & { row: Row })[]> {
  const { latencyRounds, latencySeconds: seconds, latencyLeadSeconds: leadSeconds, progress, isH2load } = options;
  const hasRoom = ([row, { perSecond }]: [Row, { perSecond: number }]) =>
    row.hasLatency && perSecond >= LEAST_ROOM * rate;
  const rows = [...figures].filter(hasRoom).map(([row]) => row);
  const times = new Map(rows.map((row) => [row, [] as (readonly number[] | undefined)[]]));
  for (let round = 1; round <= latencyRounds; round++) {
    for (const row of rows) {
      progress(`${rate} calls/s, round ${round} of ${latencyRounds}: ${row.name}`);
      const work = () => openLoop(row.server.port, row.rpcs[0]!, { rate, leadSeconds, seconds, isH2load });
      times.get(row)!.push(await undisturbed(progress, () => named(row, work)));
    }
  }
  return [...times].flatMap(([row, rounds]) => latencyOf(row, rate, rounds) ?? []);
}

function latencyOf(row: Row, rate: number, rounds: readonly (readonly number[] | undefined)[]) {
  if (rounds.every((times) => times === undefined)) return undefined;
  const at = (share: number) => rounds.map((times) => times && quantile(times, share));
  const middle = (all: Rounds) => median(all.filter((value) => value !== undefined));
  const [p50s, p99s] = [at(0.5), at(0.99)];
  return { row, rate, p50Ms: middle(p50s), p99Ms: middle(p99s), p99MsRounds: p99s };
}

/** Runs the work of a row. An error of the work names the row. */
async function named<T>(row: Row, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Disturbed) throw error;
    throw new Error(`${row.name}: ${(error as Error).message}`, { cause: error });
  }
}
