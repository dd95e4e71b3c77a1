import type { CommittedChange } from "../../src/changes/change.ts";
import type { ChangeStore, Poll } from "../../src/changes/change-store.ts";
import { positionOf } from "../../src/changes/snapshot.ts";
import { DomainError } from "../../src/lib/errors.ts";
import { whenSilent } from "../../src/lib/when-silent.ts";
import type { Cluster, Reachability } from "./cluster.ts";
import type { Machine } from "./machine.ts";
import type { Snapshot } from "./postgres-model.ts";
import type { SeededRandom } from "./random.ts";
import type { VirtualTime } from "./virtual-time.ts";

/** Timeouts like those that the shipped stores set for their connections. Like those, they wait one turn more. */
const POLL_TIMEOUT_MS = 2000;
const CONNECT_TIMEOUT_MS = 5000;
const READ_TIMEOUT_MS = 140;

/** Polls use their own connection; reads use a pool. */
export type Lane = "feed" | "reads";

export interface DatabaseLinkDeps {
  readonly cluster: Cluster;
  readonly machine: Machine;
  readonly time: VirtualTime;
  readonly random: SeededRandom;
}

interface Answer<T> {
  readonly value: T;
  readonly databaseMs: number;
  /** The incarnation of the history that the answer proves. */
  readonly incarnation: number | undefined;
}

/**
 * The network between one process and the database, with the statements of the shipped stores at its far end. Each
 * direction takes its own time. A statement sees the snapshot of the moment at which it arrived.
 */
export class DatabaseLink implements Omit<ChangeStore, "prune"> {
  isListening = false;
  /** The state of the network for each lane. */
  readonly lanes: Record<Lane, Reachability> = { feed: "answers", reads: "answers" };
  /** True while signals are lost without notice. */
  isDeaf = false;
  /** Mean time of one direction. */
  paceMs = 0.5;
  /** The life of the server that answered the last poll. */
  polledLife = -1;
  polledXmax = 0;
  polledAtMs = Number.NEGATIVE_INFINITY;
  /** True if the last read that ended was answered, so that no breaker is open because of a failure. */
  isKnownReadable = true;
  /** True time at which a poll last reported a lost history. */
  resyncedAtMs = Number.NEGATIVE_INFINITY;
  #unreadableAtRanMs = Number.NEGATIVE_INFINITY;
  /** The incarnation that the last hot read proved. */
  readIncarnation: number | undefined;
  /** The incarnation of the last successful poll. */
  #followed: number | undefined;
  #session = -1;
  #onSignal: () => void = () => {};
  readonly #deps: DatabaseLinkDeps;

  constructor(deps: DatabaseLinkDeps) {
    this.#deps = deps;
    deps.cluster.onSignal(() => this.#signal());
  }

  /** The running time of this process since the database or the network could last make a read fail. */
  readableForMs(): number {
    if (this.#reachability("reads") !== "answers") this.#unreadableAtRanMs = this.#deps.machine.ranMs;
    return this.#deps.machine.ranMs - this.#unreadableAtRanMs;
  }

  /** Like the shipped store: a history without an incarnation gets one, and only the next poll reads it. */
  async poll(since: string | undefined): Promise<Poll> {
    let answer = await this.#poll(since);
    if (answer.incarnation === undefined && !answer.poll.isInRecovery) {
      const { model } = this.#deps.cluster;
      await this.#ask("feed", POLL_TIMEOUT_MS, () => model.beginIncarnation());
      answer = await this.#poll(since);
    }
    const { poll, life, incarnation } = answer;
    if (poll.isInRecovery) return poll;
    if (incarnation === undefined) throw away();
    this.#followed = incarnation;
    this.#notePoll(poll, life);
    this.isKnownReadable = true;
    return poll;
  }

  /** A poll that is not the feed's: the copies don't learn of its changes. */
  async catchUp(since: string | undefined): Promise<Poll> {
    const { poll, incarnation } = await this.#poll(since);
    if (!poll.isInRecovery) this.#prove(incarnation);
    return poll;
  }

  async #poll(since: string | undefined) {
    const { cluster } = this.#deps;
    const isConnected = this.#session === cluster.model.lives;
    const timeoutMs = isConnected ? POLL_TIMEOUT_MS : CONNECT_TIMEOUT_MS;
    try {
      const answer = await this.#ask("feed", timeoutMs, (snapshot) => {
        this.#session = cluster.model.lives;
        const { isInRecovery } = cluster;
        const timeline = isInRecovery ? 0 : cluster.model.timeline;
        return { ...cluster.model.poll(snapshot, since), isInRecovery, timeline, life: this.#session };
      });
      const { value, databaseMs } = answer;
      this.isListening = true;
      if (!value.isInRecovery) cluster.positions.note(value.life, value.snapshot);
      const poll: Poll = {
        epoch: { systemId: "7", timeline: value.timeline, incarnation: incarnationText(value.incarnation) },
        snapshot: value.snapshot,
        xmin: BigInt(value.xmin),
        xmax: BigInt(value.xmax),
        databaseMs,
        isInRecovery: value.isInRecovery,
        hasGap: value.hasGap,
        changes: value.changes.map((row) => ({ ...row, position: positionOf(value.snapshot) })),
      };
      return { poll, life: value.life, incarnation: value.incarnation };
    } catch (error) {
      this.isListening = false;
      this.#session = -1;
      throw error;
    }
  }

  /** Runs one statement on the connections for hot reads. */
  async read<T>(run: (snapshot: Snapshot) => T): Promise<Answer<T>> {
    const answer = await this.#ask("reads", READ_TIMEOUT_MS, run);
    this.readIncarnation = answer.incarnation;
    this.#prove(answer.incarnation);
    return answer;
  }

  listen(onSignal: () => void): () => void {
    this.#onSignal = onSignal;
    return () => {
      this.#onSignal = () => {};
    };
  }

  async endedSessions(): Promise<readonly CommittedChange[]> {
    const { model, truth } = this.#deps.cluster;
    const { value } = await this.read((snapshot) =>
      truth.subjects
        .filter((subjectId) => subjectId.startsWith("ses_"))
        .map((subjectId) => ({ subjectId, endedAtMs: model.read(snapshot, subjectId)?.endedAtMs })),
    );
    return value.flatMap(({ subjectId, endedAtMs }) =>
      endedAtMs === undefined ? [] : [{ kind: "SESSION", subjectId, changedAtMs: endedAtMs, position: 0n }],
    );
  }

  /** Refuses an answer from another history than the feed's. */
  #prove(incarnation: number | undefined): void {
    if (this.#followed === undefined || incarnation === this.#followed) return;
    this.isKnownReadable = false;
    this.#unreadableAtRanMs = this.#deps.machine.ranMs;
    this.#onSignal();
    throw away();
  }

  #notePoll({ hasGap, xmax }: Poll, life: number): void {
    const { nowMs } = this.#deps.time;
    if (hasGap || life !== this.polledLife) this.resyncedAtMs = nowMs;
    this.polledLife = life;
    this.polledXmax = Number(xmax);
    this.polledAtMs = nowMs;
  }

  #ask<T>(lane: Lane, timeoutMs: number, run: (snapshot: Snapshot) => T): Promise<Answer<T>> {
    const { cluster, machine, time } = this.#deps;
    const { promise, resolve, reject } = Promise.withResolvers<Answer<T>>();
    let hasArrived = false;
    const conclude = (isAnswer: boolean) => {
      if (lane === "reads") this.isKnownReadable = isAnswer;
    };
    const fail = () => {
      conclude(false);
      // An answer that arrived while this process did not run came in time.
      if (lane === "reads" && !hasArrived) this.#unreadableAtRanMs = machine.ranMs;
      reject(away());
    };
    let isTimeOver = false;
    const giveUp = () => {
      isTimeOver = true;
      fail();
    };
    whenSilent(promise, timeoutMs, giveUp, machine.timers);
    const arrive = (answer: Answer<T> | undefined) => {
      time.after(this.#way(), () => {
        if (this.#reachability(lane) === "is silent") return;
        hasArrived = answer !== undefined;
        machine.receive(() => {
          if (isTimeOver) return;
          if (answer === undefined) return fail();
          conclude(true);
          resolve(answer);
        });
      });
    };
    time.after(this.#way(), () => {
      const reachability = this.#reachability(lane);
      if (reachability === "is silent") return;
      if (reachability === "refuses") return arrive(undefined);
      const snapshot = cluster.model.takeSnapshot();
      const { lives } = cluster.model;
      const databaseMs = cluster.clockAt(time.nowMs);
      time.after(this.#way(), () => {
        const isSameServer = cluster.model.lives === lives;
        const { incarnation } = snapshot;
        arrive(isSameServer ? { value: run(snapshot), databaseMs, incarnation } : undefined);
      });
    });
    return promise;
  }

  #signal(): void {
    const { cluster, machine, time } = this.#deps;
    const session = this.#session;
    if (this.isDeaf || session !== cluster.model.lives) return;
    time.after(this.#way(), () => {
      if (this.#session === session && this.#reachability("feed") === "answers")
        machine.receive(() => this.#onSignal());
    });
  }

  /**
   * The time of one direction: mostly short; in 3 % of cases a packet is lost and sent again, or another query takes
   * long.
   */
  #way(): number {
    const { random } = this.#deps;
    return random.chance(0.03) ? random.between(10, 400) : random.pause(this.paceMs);
  }

  /** A hot read refuses a standby by its own statement; the feed judges what a poll shows of a standby. */
  #reachability(lane: Lane): Reachability {
    const { cluster } = this.#deps;
    if (this.lanes[lane] !== "answers") return this.lanes[lane];
    if (lane === "reads" && cluster.isInRecovery) return "refuses";
    return cluster.reachability;
  }
}

function away(): DomainError {
  return new DomainError("DATABASE_UNAVAILABLE", "away", { retryAfterMs: 1000 });
}

/** The incarnation as a UUID, because a client's cursor contains one. */
function incarnationText(incarnation: number | undefined): string {
  return `00000000-0000-4000-8000-${String(incarnation ?? 0).padStart(12, "0")}`;
}
