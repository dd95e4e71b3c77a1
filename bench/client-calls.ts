/** The cost of a verdict for the program that asks, and for the service: our client, and what users write instead. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { Done, Load, Start } from "./clients/calling.ts";
import { CANDIDATES } from "./clients/candidates.ts";
import { processCpuUs } from "./cpu.ts";
import { median, type Rounds, spread } from "./rounds.ts";
import type { Service } from "./service.ts";

/** One line of the table: a way to verify keys, with 50 callers at a time in one process. */
export interface ClientFigures {
  readonly name: string;
  /** Verdicts per second. */
  readonly perSecond: number;
  /** CPU time of the caller's process for one verdict, all its threads. */
  readonly clientUs: number;
  readonly clientUsRounds: Rounds;
  /** The spread of `clientUsRounds`. */
  readonly spread: number;
  /** CPU time of the service's process for one verdict, all its threads. */
  readonly serviceUs: number;
  readonly serviceUsRounds: Rounds;
  /** Calls to the service for one verdict. */
  readonly calls: number;
}

export interface ClientOptions {
  readonly service: Service;
  /** Number of measured rounds. One more round comes before them, to warm up. */
  readonly rounds: number;
  readonly warmUpVerdicts: number;
  /** Approximate time of one candidate in one round. */
  readonly seconds: number;
  /** Time before `seconds` that does not count. */
  readonly leadSeconds: number;
  readonly progress: (line: string) => void;
}

interface Sample {
  readonly perSecond: number;
  readonly clientUs: number;
  readonly serviceUs: number;
  readonly calls: number;
}

/** The callers of one candidate. */
interface Callers {
  readonly name: string;
  readonly child: ChildProcess;
  /** Rejects if the process ends. */
  readonly ended: Promise<never>;
}

const LEAST_VERDICTS = 1_000;

/**
 * Measures all candidates in turns, round by round, and takes the median of the rounds. Every verdict is checked.
 *
 * @throws Error for the first call that fails, and for a good key that is refused
 */
export async function measureClients(options: ClientOptions): Promise<readonly ClientFigures[]> {
  const all: Callers[] = [];
  try {
    for (const name of Object.keys(CANDIDATES)) all.push(await startCallers(name, options.service));
    const samples = new Map(all.map((callers) => [callers, [] as Sample[]]));
    const rates = new Map<Callers, number>();
    for (let round = 0; round <= options.rounds; round++) {
      for (const callers of all) {
        const when = round === 0 ? "warm-up" : `round ${round} of ${options.rounds}`;
        options.progress(`50 callers, ${when}: ${callers.name}`);
        const sample = await measureOnce(options, callers, rates.get(callers));
        rates.set(callers, sample.perSecond);
        if (round > 0) samples.get(callers)!.push(sample);
      }
    }
    return [...samples].map(([{ name }, rounds]) => figuresOf(name, rounds));
  } finally {
    for (const { child } of all) child.kill("SIGKILL");
  }
}

function figuresOf(name: string, rounds: readonly Sample[]): ClientFigures {
  const clientUsRounds = rounds.map(({ clientUs }) => clientUs);
  const serviceUsRounds = rounds.map(({ serviceUs }) => serviceUs);
  return {
    name,
    perSecond: median(rounds.map(({ perSecond }) => perSecond)),
    clientUs: median(clientUsRounds),
    clientUsRounds,
    spread: spread(clientUsRounds),
    serviceUs: median(serviceUsRounds),
    serviceUsRounds,
    calls: median(rounds.map(({ calls }) => calls)),
  };
}

async function startCallers(name: string, { port, credential, openKeys }: Service): Promise<Callers> {
  const child = fork(join(import.meta.dirname, "clients/calling.ts"), [name], { execArgv: [] });
  const ended = once(child, "exit").then(([code]) => {
    throw new Error(`the callers of ${name} ended with exit code ${code}`);
  });
  ended.catch(() => {});
  const callers = { name, child, ended };
  const start: Start = { baseUrl: `http://127.0.0.1:${port}`, credential, keys: openKeys };
  await answerOf(callers, start);
  return callers;
}

/** @param rate verdicts per second of the round before; undefined for the warm-up */
async function measureOnce(options: ClientOptions, callers: Callers, rate: number | undefined): Promise<Sample> {
  const { service, seconds, leadSeconds, warmUpVerdicts } = options;
  const verdictsIn = (forSeconds: number) => Math.ceil(Math.max(rate! * forSeconds, LEAST_VERDICTS));
  if (rate !== undefined) await load(callers, verdictsIn(leadSeconds));
  const verdicts = rate === undefined ? warmUpVerdicts : verdictsIn(seconds);
  const before = { client: processCpuUs(callers.child.pid!), service: processCpuUs(service.pid) };
  const { seconds: tookSeconds, calls } = await load(callers, verdicts);
  return {
    calls: calls / verdicts,
    perSecond: verdicts / tookSeconds,
    clientUs: (processCpuUs(callers.child.pid!) - before.client) / verdicts,
    serviceUs: (processCpuUs(service.pid) - before.service) / verdicts,
  };
}

async function load(callers: Callers, verdicts: number): Promise<Done> {
  const done = (await answerOf(callers, { verdicts })) as Done;
  if (done.fault !== undefined) throw new Error(`${callers.name}: ${done.fault}`);
  return done;
}

/** Sends a message to the callers, and waits for what they answer. @throws Error if they end instead */
async function answerOf({ child, ended }: Callers, message: Start | Load): Promise<unknown> {
  child.send(message);
  const [answer] = await Promise.race([once(child, "message"), ended]);
  return answer;
}
