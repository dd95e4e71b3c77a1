/**
 * Judges an attack by the harm to others: another client's p99, and the longest turn of the service's event loop. A
 * turn is judged by the CPU time of the service's thread, because the wall clock also counts what other processes take
 * from the core. The service must run with TURN_PROBE.
 */
import { expect } from "vitest";
import { callSteadily, p99, times } from "./bystander.ts";
import { longestTurnMs } from "./longest-turn.ts";
import { type Answer, report, tally } from "./measurements.ts";

/** An attack that goes on until `isOver`. */
export type Attack = (isOver: () => boolean) => Promise<unknown>;

export interface Noticed {
  readonly p99Ms: number;
  /** CPU time of the longest turn. */
  readonly turnMs: number;
}

export interface Beside {
  readonly service: { readonly pid: number };
  /** One call of the other client. */
  readonly verify: () => Promise<Answer>;
}

/** Maximum factor of another client's p99, against its p99 beside the harmless control. */
const FACTOR = 3;
/** A p99 that a busy machine causes by itself. */
const FLOOR_MS = 50;
/** Maximum CPU time of one turn of the event loop. */
export const MAX_TURN_MS = 50;
/** A process on the same core, and what it leaves in the caches, make the same work take up to three times as long. */
const ATTEMPTS = 4;

/** Calls the service steadily during an attack. Every call is answered VALID. */
export async function noticedBeside({ service, verify }: Beside, what: string, attack: Attack): Promise<Noticed> {
  await longestTurnMs(service.pid);
  let isOver = false;
  const attacking = attack(() => isOver);
  const answers = await callSteadily(verify);
  isOver = true;
  await attacking;
  const turnMs = await longestTurnMs(service.pid);
  report(`${what}, longest turn ${turnMs.toFixed(0)} ms of CPU`, times(answers));
  expect(tally(answers)).toEqual({ VALID: answers.length });
  return { p99Ms: p99(answers), turnMs };
}

/**
 * Judges the longest turn alone, and reports the other client's p99. For attacks that keep the database and the
 * attacker's own process busy: on two cores, these take the time from the service, whatever it does.
 */
export async function expectShortTurns(beside: Beside, what: string, attack: Attack): Promise<void> {
  await expectHardlySlowed({ ...beside, control: { p99Ms: Number.POSITIVE_INFINITY, turnMs: 0 } }, what, attack);
}

/** @param control what the other client noticed beside a harmless one */
export async function expectHardlySlowed(
  { control, ...beside }: Beside & { readonly control: Noticed },
  what: string,
  attack: Attack,
): Promise<void> {
  const most = { p99Ms: Math.max(FACTOR * control.p99Ms, FLOOR_MS), turnMs: MAX_TURN_MS };
  let noticed = await noticedBeside(beside, what, attack);
  // The harm of an attack comes in every attempt, a delay of the busy machine does not.
  for (let again = 1; again < ATTEMPTS && isMore(noticed, most); again++) {
    noticed = await noticedBeside(beside, what, attack);
  }
  expect(isMore(noticed, most), JSON.stringify({ noticed, most })).toBe(false);
}

function isMore(noticed: Noticed, most: Noticed): boolean {
  return noticed.p99Ms > most.p99Ms || noticed.turnMs > most.turnMs;
}
