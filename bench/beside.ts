/** The effect of another client on one service: the time of its calls, and the longest stall of the event loop. */
import { longestStallMs } from "../test/support/bystander.ts";
import { TURN_ATTACKS } from "../test/support/turn-attacks.ts";
import type { Rpc } from "./call.ts";
import { h2loadUntil } from "./h2load.ts";
import { openLoop } from "./open-loop.ts";
import { median, quantile, quotients } from "./rounds.ts";
import type { Service } from "./service.ts";

/** One line of the table: the other client, and the times of the service's calls beside it. */
export interface Beside {
  readonly name: string;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** p99 divided by that of the run without another client, round by round. */
  readonly timesIdle: number;
  readonly stallMs: number;
}

export interface BesideOptions {
  readonly service: Service;
  /** The call that is measured, and the same call by the credential of another service. */
  readonly calls: { readonly own: Rpc; readonly other: Rpc };
  readonly isH2load: boolean;
  readonly rounds: number;
  readonly seconds: number;
  readonly progress: (line: string) => void;
}

interface Sample {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly stallMs: number;
}

/** Calls per second that are measured. */
const RATE = 1000;
const LEAD_SECONDS = 0.3;
/** The load of the other service, which calls as fast as it can. */
const FLOOD = { connections: 50, callsPerConnection: 100 };
const FLOOD_NAME = "a service with 5,000 calls of VerifyKey at a time on 50 connections";

type Attack = (isOver: () => boolean, over: Promise<unknown>) => Promise<unknown>;

/** Measures all attacks in turns, round by round. */
export async function measureBeside(options: BesideOptions): Promise<readonly Beside[]> {
  const attacks = attacksOf(options);
  const samples = new Map<string, Sample[]>([...attacks.keys()].map((name) => [name, []]));
  for (let round = 1; round <= options.rounds; round++) {
    for (const [name, attack] of attacks) {
      options.progress(`beside another client, round ${round} of ${options.rounds}: ${name}`);
      samples.get(name)!.push(await measureOnce(options, attack));
    }
  }
  const idle = [...samples.values()][0]!.map(({ p99Ms }) => p99Ms);
  return [...samples].map(([name, rounds]) => ({
    name,
    p50Ms: median(rounds.map(({ p50Ms }) => p50Ms)),
    p99Ms: median(rounds.map(({ p99Ms }) => p99Ms)),
    timesIdle: median(
      quotients(
        rounds.map(({ p99Ms }) => p99Ms),
        idle,
      ),
    ),
    stallMs: median(rounds.map(({ stallMs }) => stallMs)),
  }));
}

function attacksOf({ service, calls, isH2load }: BesideOptions): ReadonlyMap<string, Attack> {
  const { port } = service;
  const attacks = new Map<string, Attack>([
    ["idle", async () => {}],
    ["control: a stranger's calls, one after the other", (isOver) => askKeySet(port, isOver)],
  ]);
  if (isH2load) {
    attacks.set(FLOOD_NAME, (_isOver, over) => h2loadUntil(over, port, calls.other, FLOOD));
  }
  for (const [what, attack] of TURN_ATTACKS) attacks.set(`a stranger that ${what}`, (isOver) => attack(port, isOver));
  return attacks;
}

async function measureOnce({ service, calls, seconds, isH2load }: BesideOptions, attack: Attack): Promise<Sample> {
  let isOver = false;
  const over = Promise.withResolvers<void>();
  const attacking = attack(() => isOver, over.promise);
  await longestStallMs(service.opsAddress);
  const shape = { rate: RATE, leadSeconds: LEAD_SECONDS, seconds, isH2load };
  const times = await openLoop(service.port, calls.own, shape);
  const stallMs = await longestStallMs(service.opsAddress);
  isOver = true;
  over.resolve();
  await attacking;
  return { p50Ms: quantile(times, 0.5), p99Ms: quantile(times, 0.99), stallMs };
}

async function askKeySet(port: number, isOver: () => boolean): Promise<void> {
  while (!isOver()) await (await fetch(`http://127.0.0.1:${port}/.well-known/jwks.json`)).arrayBuffer();
}
