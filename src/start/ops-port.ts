/**
 * The second port, for health and metrics: of one process, or of all workers together. Workers share the port of the
 * RPCs, so a scrape of it would reach a different worker each time. Instead, the first process opens the second port,
 * asks all workers, and answers with the sum.
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
interface WorkerAnswer {
  readonly opsAnswer: number;
  readonly isServing: boolean;
  readonly figures: readonly Figure[];
}

/** The result of one question: the answers by worker id, and the ids of the workers that did not answer. */
interface Round {
  readonly answers: ReadonlyMap<number, WorkerAnswer>;
  readonly silent: readonly number[];
}

/**
 * A worker that has not answered within this time is stuck. Prometheus waits for a scrape for 10 s by default, and a
 * Kubernetes probe for 1 s.
 */
const ANSWER_WITHIN_MS = 800;

/** Opens the port. In a worker, it answers the questions of the first process instead, which has opened the port. */
export async function startOpsPort({ config, log, isServing, metrics }: OpsSources): Promise<OpsPort> {
  if (cluster.isWorker) return answerQuestions(config.opsListen, isServing, metrics);
  const server = new OpsServer({ log, isServing, metrics: () => metrics.text() });
  return { address: await server.start(config.opsListen), stop: () => server.stop() };
}

/**
 * Opens the port of all workers, in the first process. `/healthz` answers 200 while every new connection reaches a
 * worker that serves: at least one worker serves, and no worker that has served before is stuck. A worker that ended or
 * drains gets no new connection, so it does not count.
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
    const answered: WorkerAnswer = { opsAnswer, isServing: isServing(), figures: await metrics.figures() };
    // The first process may have ended. Then this process is about to end too.
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
 * Returns a function that asks each running worker once.
 *
 * @param onAnswer called for each answer, even one that came too late; the answers of one worker come in order
 */
function questionsToWorkers(onAnswer: (worker: number, answer: WorkerAnswer) => void): () => Promise<Round> {
  let asked = 0;
  const waiting = new Map<number, (worker: number, answer: WorkerAnswer) => void>();
  cluster.on("message", ({ id }, message: Partial<WorkerAnswer> | null) => {
    if (message?.opsAnswer === undefined || !isRunning(id)) return;
    const answer = message as WorkerAnswer;
    onAnswer(id, answer);
    waiting.get(answer.opsAnswer)?.(id, answer);
  });
  return () =>
    new Promise<Round>((resolve) => {
      const opsQuestion = ++asked;
      const workers = Object.values(cluster.workers ?? {}).filter((worker) => worker?.isConnected() === true);
      const answers = new Map<number, WorkerAnswer>();
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
