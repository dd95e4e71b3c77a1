/** One run from beginning to end: world, clients, faults, healing, comparison, verdict of the checker. */
import { setTimeout as pause } from "node:timers/promises";
import { makeCast } from "./cast.ts";
import { check } from "./check.ts";
import { type Follower, type History, nowMs, type Violation } from "./history.ts";
import { readChanges, readLedger } from "./ledger.ts";
import { Nemesis, type NemesisOptions } from "./nemesis.ts";
import { Recorder } from "./recorder.ts";
import { sweep } from "./sweep.ts";
import { Truth } from "./truth.ts";
import { follow } from "./work-followers.ts";
import { changeKeys, verifyKeys } from "./work-keys.ts";
import { verifyNear } from "./work-near.ts";
import { countAgainstLimits, type KnownSession, livePerson } from "./work-people.ts";
import { PROCESSES, STALE_OK_MS, startWorld, type World } from "./world.ts";

export interface TrialOptions extends NemesisOptions {
  readonly seconds: number;
  /** Flags of Node for each process of the service and of the near clients. */
  readonly nodeFlags: readonly string[];
  /** Gets a line about the progress every 5 s. */
  readonly onProgress?: (line: string) => void;
  /** Watches the world from its first call to its last one. */
  readonly observe?: (world: World, startedMs: number) => Observation;
  /** Ends the run early, without a judgement. */
  readonly stop?: AbortSignal;
}

export interface Observation {
  end(): Promise<void>;
}

export interface Trial {
  readonly history: History;
  readonly violations: readonly Violation[];
  /** The output of each process, and of the near clients. */
  readonly logs: readonly string[];
  readonly neighbourCommits: number;
}

const VERIFIERS = 4;
const CHANGERS = 3;
const PEOPLE = 3;
const COUNTERS = 1;
const NEAR_CALLERS = 3;
const FOLLOWERS = 3;
const PROGRESS_EVERY_MS = 5000;
/** Within this time after all faults each follower must get a message. */
const FOLLOWERS_BACK_MS = 20_000;

/** @throws the reason of `stop`, when everything has ended */
export async function runTrial(options: TrialOptions): Promise<Trial> {
  await using world = await startWorld(options.nodeFlags);
  const recorder = new Recorder();
  const cast = await makeCast(world, recorder, options.seed);
  const nemesis = new Nemesis(world, options);
  const { stop = new AbortController().signal } = options;
  const followers: Follower[] = [];
  const sessions: KnownSession[] = [];
  const stopFollowers = new AbortController();
  const driftMs = clockDrift();
  const startedMs = nowMs();
  const endMs = startedMs + options.seconds * 1000;
  const isOver = () => nowMs() >= endMs || stop.aborted;
  const observation = options.observe?.(world, startedMs);
  const progress = setInterval(() => {
    const on = [...nemesis.active].join(" + ") || "none";
    const second = ((nowMs() - startedMs) / 1000).toFixed(0);
    options.onProgress?.(`${second.padStart(4)} s  ${recorder.operations.length} operations, faults: ${on}`);
  }, PROGRESS_EVERY_MS);
  const following = times(FOLLOWERS, (n) => follow(cast, `follower ${n}`, followers, stopFollowers.signal));
  const work = [
    ...times(VERIFIERS, () => verifyKeys(cast, isOver)),
    ...times(CHANGERS, () => changeKeys(cast, isOver)),
    ...times(PEOPLE, (n) => livePerson(world, cast, `person-${n}@example.com`, sessions, isOver)),
    ...times(COUNTERS, () => countAgainstLimits(cast, isOver)),
    ...times(NEAR_CALLERS, () => verifyNear(cast, world.near, isOver)),
  ];
  await Promise.all([nemesis.run(endMs, stop), ...work]).finally(() => clearInterval(progress));
  await observation?.end();
  if (stop.aborted) {
    stopFollowers.abort();
    await Promise.all(following);
    stop.throwIfAborted();
  }
  options.onProgress?.("all faults are healed; every process is compared with the database");
  await world.heal();
  await quiesced(world);

  const historyNow = async (): Promise<History> => ({
    startedMs,
    endedMs: nowMs(),
    staleOkMs: STALE_OK_MS,
    processes: PROCESSES,
    clockDriftMs: driftMs(),
    operations: recorder.operations,
    faults: nemesis.records,
    starts: [...world.nodes, world.near].flatMap(({ starts }) => starts),
    followers,
    ledger: await readLedger(world.query),
    changes: await readChanges(world.query),
    crashes: [...world.nodes, world.near].flatMap(({ crashes }) => crashes),
  });
  const truthNow = async () => new Truth(await historyNow());
  const swept = await sweep(world, cast, sessions, truthNow);
  await followersAreBack(followers);
  stopFollowers.abort();
  await Promise.all(following);
  const history = await historyNow();
  return {
    history,
    violations: [...check(history), ...swept],
    logs: [...world.nodes, world.near].map(({ output }) => output),
    neighbourCommits: world.neighbour.commits(),
  };
}

function times(count: number, start: (n: number) => Promise<void>): Promise<void>[] {
  return Array.from({ length: count }, (_, n) => start(n));
}

/** Waits until no call's transaction is under way, so that the database no longer changes. */
async function quiesced({ query }: World): Promise<void> {
  for (let calm = 0; calm < 5; ) {
    const [row] = await query(
      "select count(*)::int as busy from pg_stat_activity where xact_start is not null and usename = 'latchkey_service'",
    );
    calm = row!.busy === 0 ? calm + 1 : 0;
    await pause(50);
  }
}

async function followersAreBack(followers: readonly Follower[]): Promise<void> {
  const sinceMs = nowMs();
  const isBack = ({ messages }: Follower) => messages.some(({ asOfMs }) => asOfMs !== undefined && asOfMs > sinceMs);
  while (nowMs() - sinceMs < FOLLOWERS_BACK_MS && !followers.every(isBack)) await pause(50);
}

/** @returns how far the wall clock, which is the database's as well, has moved against the monotonic one since */
function clockDrift(): () => number {
  const offsetMs = Date.now() - nowMs();
  return () => Math.abs(Date.now() - nowMs() - offsetMs) + Math.abs(offsetMs);
}
