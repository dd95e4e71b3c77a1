/**
 * The second port: a process's own, or that of all workers. Those share the port of the RPCs, and who asks for metrics
 * shall not meet now this one and now that one: the first process asks all of them, and answers.
 */
import cluster from "node:cluster";
import type { Address, Config } from "../config/config.ts";
import type { Log } from "../lib/log.ts";
import type { Metrics } from "../rpc/ops/metrics.ts";
import { OpsServer } from "../rpc/ops/ops-server.ts";
import { type Figure, SummedMetrics } from "../rpc/ops/summed-metrics.ts";

export interface OpsPort {
  /** `host:port` */
  readonly address: string;
  stop(): Promise<void>;
}

export interface OpsSources {
  readonly config: Pick<Config, "opsListen">;
  readonly log: Log;
  /** Whether this process takes calls. */
  readonly isServing: () => boolean;
  readonly metrics: Metrics;
}

/** From the first process to a worker. */
interface Question {
  readonly opsQuestion: number;
}

/** From a worker to the first process. */
interface Answer {
  readonly opsAnswer: number;
  readonly isServing: boolean;
  readonly figures: readonly Figure[];
}

/** Those who answered one question, by the number of their worker, and those who did not. */
interface Round {
  readonly answers: ReadonlyMap<number, Answer>;
  readonly silent: readonly number[];
}

/** A worker that has not answered by then stands still. A scrape waits for ten seconds by default, a probe for one. */
const ANSWER_WITHIN_MS = 800;

/** Opens the port, or, in a worker, answers the first process, which has opened it. */
export async function startOpsPort({ config, log, isServing, metrics }: OpsSources): Promise<OpsPort> {
  if (cluster.isWorker) return answerQuestions(config.opsListen, isServing, metrics);
  const server = new OpsServer({ log, isServing, metrics: () => metrics.text() });
  return { address: await server.start(config.opsListen), stop: () => server.stop() };
}

/**
 * The port of all workers, opened by the first process. `/healthz` says 200 while whoever connects meets a worker that
 * serves: one serves at least, and none that has served stands still. A worker that ended or drains is given no connection,
 * and so is no reason to say otherwise.
 *
 * @param isStopping whether the workers have been told to end
 */
export async function startWorkersOpsPort(
  { opsListen }: Pick<Config, "opsListen">,
  log: Log,
  isStopping: () => boolean,
): Promise<OpsPort> {
  const sums = new SummedMetrics();
  const ask = questionsToWorkers((worker, { figures }) => sums.update(worker, figures));
  cluster.on("exit", ({ id }) => sums.end(id));

  async function isServing(): Promise<boolean> {
    if (isStopping()) return false;
    const { answers, silent } = await ask();
    return [...answers.values()].some((answer) => answer.isServing) && !silent.some((id) => sums.knows(id));
  }
  const server = new OpsServer({
    log,
    isServing,
    metrics: async () => sums.text((await ask()).answers.size),
  });
  return { address: await server.start(opsListen), stop: () => server.stop() };
}

function answerQuestions({ host, port }: Address, isServing: () => boolean, metrics: Metrics): OpsPort {
  async function answer(opsAnswer: number): Promise<void> {
    const answered: Answer = { opsAnswer, isServing: isServing(), figures: await metrics.figures() };
    // The first process may be gone by now: then this one is about to end.
    process.send?.(answered, undefined, undefined, () => {});
  }
  const onMessage = (message: Partial<Question> | null) => {
    if (typeof message?.opsQuestion === "number") void answer(message.opsQuestion);
  };
  process.on("message", onMessage);
  return {
    address: `${host.includes(":") ? `[${host}]` : host}:${port}`,
    stop: async () => void process.off("message", onMessage),
  };
}

/**
 * Returns a function that asks every worker that runs, once each.
 *
 * @param onAnswer is told of each answer, in the order in which a worker gave them, also of one that came too late
 */
function questionsToWorkers(onAnswer: (worker: number, answer: Answer) => void): () => Promise<Round> {
  let asked = 0;
  const waiting = new Map<number, (worker: number, answer: Answer) => void>();
  cluster.on("message", ({ id }, message: Partial<Answer> | null) => {
    if (message?.opsAnswer === undefined || !isRunning(id)) return;
    const answer = message as Answer;
    onAnswer(id, answer);
    waiting.get(answer.opsAnswer)?.(id, answer);
  });
  return () =>
    new Promise<Round>((resolve) => {
      const opsQuestion = ++asked;
      const workers = Object.values(cluster.workers ?? {}).filter((worker) => worker?.isConnected() === true);
      const answers = new Map<number, Answer>();
      const end = () => {
        clearTimeout(timer);
        waiting.delete(opsQuestion);
        const silent = workers.map((worker) => worker!.id).filter((id) => isRunning(id) && !answers.has(id));
        resolve({ answers, silent });
      };
      const timer = setTimeout(end, ANSWER_WITHIN_MS);
      waiting.set(opsQuestion, (worker, answer) => {
        answers.set(worker, answer);
        if (answers.size === workers.length) end();
      });
      const question: Question = { opsQuestion };
      for (const worker of workers) worker!.send(question, () => {});
      if (workers.length === 0) end();
    });
}

function isRunning(id: number): boolean {
  const worker = cluster.workers?.[id];
  return worker !== undefined && !worker.isDead();
}
