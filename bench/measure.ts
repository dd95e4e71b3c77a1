import type { Redis } from "ioredis";
import { CALLS_PER_CONNECTION, CONNECTIONS, each, repeat } from "./closed-loop.ts";
import { processCpuUs, redisCpuUs } from "./cpu.ts";
import { Disturbed, undisturbed } from "./disturbed.ts";
import { median, openLoop, quantile } from "./open-loop.ts";
import type { Row } from "./rows.ts";

/** One line of the table; for one key where a call carries several. */
export interface Figures {
  readonly name: string;
  readonly perSecond: number;
  /** CPU time of the process under test, all its threads. */
  readonly serverUs: number;
  /** Half of the distance between the rounds' least and largest `serverUs`, as a share of it. */
  readonly spread: number;
  readonly redisUs: number | undefined;
  /** At the rates that leave the row's server time to spare. */
  readonly latencies: readonly Latency[];
}

/** How long calls take that are sent at a fixed rate. */
export interface Latency {
  /** Calls per second. */
  readonly rate: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export interface MeasureOptions {
  readonly rows: readonly Row[];
  readonly redis: Redis | undefined;
  readonly isH2load: boolean;
  /** Measured rounds; one more is made before, to warm up. */
  readonly rounds: number;
  readonly warmUpCalls: number;
  /** Of one row in one round, about. */
  readonly seconds: number;
  /** Calls per second at which latency is measured. */
  readonly latencyRates: readonly number[];
  readonly latencyRounds: number;
  readonly progress: (line: string) => void;
}

interface Sample {
  readonly perSecond: number;
  readonly serverUs: number;
  readonly redisUs: number | undefined;
}

/** A call that carries many keys warms up more. */
const WARM_UP_SHARE_OF_BATCH = 0.2;
const LEAST_CALLS = 200;
/** Latency is that of a queue where a server has less to spare. */
const LEAST_ROOM = 2;
/** Less than what makes a queue so long that reads give up: a read on the embedded database takes a millisecond. */
const COLD_CALLERS = 16;

/**
 * Measures all rows in turns, round by round, so that what disturbs the machine for a while disturbs all of them, and
 * takes the median of the rounds.
 *
 * @returns without the rows that the machine kept disturbing
 * @throws Error for the first answer that is not what its row expects
 */
export async function measureRows(options: MeasureOptions): Promise<readonly Figures[]> {
  const samples = new Map(options.rows.map((row) => [row, [] as Sample[]]));
  const rates = new Map<Row, number>();
  for (let round = 0; round <= options.rounds; round++) {
    for (const row of options.rows) {
      options.progress(`${round === 0 ? "warm-up" : `round ${round} of ${options.rounds}`}: ${row.name}`);
      const sample = await undisturbed(options.progress, () => measureOnce(options, row, round, rates.get(row)));
      if (sample === undefined) continue;
      rates.set(row, sample.perSecond);
      if (round > 0) samples.get(row)!.push(sample);
    }
  }
  const measured = [...samples].filter(([, all]) => all.length > 0);
  const figures = new Map(measured.map(([row, all]) => [row, figuresOf(row, all)]));
  const latencies: (Latency & { row: Row })[] = [];
  for (const rate of options.latencyRates) latencies.push(...(await measureLatencies(options, figures, rate)));
  return [...figures].map(([row, all]) => ({
    ...all,
    latencies: latencies.filter((latency) => latency.row === row).map(({ row: _, ...latency }) => latency),
  }));
}

function figuresOf(row: Row, samples: readonly Sample[]): Omit<Figures, "latencies"> {
  const serverUs = samples.map((sample) => sample.serverUs);
  return {
    name: row.name,
    perSecond: median(samples.map((sample) => sample.perSecond)),
    serverUs: median(serverUs),
    spread: (Math.max(...serverUs) - Math.min(...serverUs)) / 2 / median(serverUs),
    redisUs: row.usesRedis ? median(samples.map((sample) => sample.redisUs ?? 0)) : undefined,
  };
}

async function measureOnce(
  options: MeasureOptions,
  row: Row,
  round: number,
  callsPerSecond: number | undefined,
): Promise<Sample> {
  const { redis, isH2load, seconds } = options;
  const before = { server: processCpuUs(row.server.pid), redis: redis && (await redisCpuUs(redis)) };
  const load = await named(row, () => {
    if (row.rpcs.length > 1) return each(row.server.port, share(row, round, options.rounds + 1), COLD_CALLERS);
    const calls =
      callsPerSecond === undefined
        ? options.warmUpCalls * (row.keys > 1 ? WARM_UP_SHARE_OF_BATCH : 1)
        : (callsPerSecond / row.keys) * seconds;
    return repeat(row.server.port, row.rpcs[0]!, wholeRounds(calls), isH2load);
  });
  const keys = load.calls * row.keys;
  return {
    perSecond: keys / load.seconds,
    serverUs: (processCpuUs(row.server.pid) - before.server) / keys,
    redisUs: redis && ((await redisCpuUs(redis)) - before.redis!) / keys,
  };
}

/** What this round may use of calls that must not be repeated. */
function share(row: Row, round: number, rounds: number): Row["rpcs"] {
  const size = Math.floor(row.rpcs.length / rounds);
  return row.rpcs.slice(round * size, (round + 1) * size);
}

/** The same number of calls for every caller. */
function wholeRounds(calls: number): number {
  const callers = CONNECTIONS * CALLS_PER_CONNECTION;
  return Math.ceil(Math.max(calls, LEAST_CALLS) / callers) * callers;
}

/** In rounds too: the median of each round's p50 and p99. */
async function measureLatencies(
  options: MeasureOptions,
  figures: ReadonlyMap<Row, { perSecond: number }>,
  rate: number,
): Promise<(Latency & { row: Row })[]> {
  const { latencyRounds, progress, seconds } = options;
  const hasRoom = ([row, { perSecond }]: [Row, { perSecond: number }]) =>
    row.hasLatency && perSecond >= LEAST_ROOM * rate;
  const rows = [...figures].filter(hasRoom).map(([row]) => row);
  const times = new Map(rows.map((row) => [row, [] as number[][]]));
  for (let round = 1; round <= latencyRounds; round++) {
    for (const row of rows) {
      progress(`${rate} calls/s, round ${round} of ${latencyRounds}: ${row.name}`);
      const work = () => openLoop(row.server.port, row.rpcs[0]!, rate, seconds);
      const measured = await undisturbed(progress, () => named(row, work));
      if (measured !== undefined) times.get(row)!.push(measured);
    }
  }
  const measured = [...times].filter(([, rounds]) => rounds.length > 0);
  const middle = (rounds: number[][], share: number) => median(rounds.map((round) => quantile(round, share)));
  return measured.map(([row, all]) => ({ row, rate, p50Ms: middle(all, 0.5), p99Ms: middle(all, 0.99) }));
}

/** Faults say which row they are of. */
async function named<T>(row: Row, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Disturbed) throw error;
    throw new Error(`${row.name}: ${(error as Error).message}`, { cause: error });
  }
}
