import assert from "node:assert/strict";
import { parseCursor } from "../../src/changes/cursor-text.ts";
import type { WatchMessage } from "../../src/changes/watch-changes.ts";
import { DomainError } from "../../src/lib/errors.ts";
import type { Cluster, Committed } from "./cluster.ts";
import { parseSnapshot, sees } from "./postgres-model.ts";
import type { SeededRandom } from "./random.ts";
import { nameOf } from "./sample-keys.ts";
import type { SimulatedService } from "./simulated-service.ts";
import type { VirtualTime } from "./virtual-time.ts";

export interface WatchingClientDeps {
  readonly time: VirtualTime;
  readonly random: SeededRandom;
  readonly cluster: Cluster;
  readonly processes: readonly SimulatedService[];
  readonly onFault: (fault: string) => void;
}

/**
 * A client of WatchRevocations that reconnects with its last cursor to any process. It checks the promises of the
 * stream:
 *
 * - Each change comes at least once, or a resync covers it.
 * - No `as_of` is later than a change that was not sent.
 */
export class WatchingClient {
  readonly #deps: WatchingClientDeps;
  /** True if it reads each message as soon as it comes. */
  isInHurry = false;
  readonly #told = new Set<string>();
  #cursor = "";
  /** Changes from this time on concern this client; by the database's clock. */
  #fromMs: number | undefined;
  #stream = 0;
  /** Number of changes from the first on that were sent or covered, without a gap. */
  #doneUpTo = 0;

  constructor(deps: WatchingClientDeps) {
    this.#deps = deps;
  }

  /** Watches on some process. An earlier stream ends. */
  connect(): void {
    const process = this.#deps.random.pick(this.#deps.processes);
    const abort = new AbortController();
    const messages = process.watch({ cursor: this.#cursor, signal: abort.signal });
    const stream = ++this.#stream;
    const isCurrent = () => stream === this.#stream;
    const again = (error: unknown) => {
      if (!(error instanceof DomainError)) this.#deps.onFault(`a watch ended with ${error}`);
      if (isCurrent()) this.#later(100, () => isCurrent() && this.connect());
    };
    const next = () => {
      process.machine.receive(() => {
        if (!isCurrent()) abort.abort();
        messages.next().then(({ value }) => {
          if (value === undefined || !isCurrent()) return;
          this.#handle(value);
          // In 2 % of cases the client does not keep up for a while.
          this.#deps.time.after(
            !this.isInHurry && this.#deps.random.chance(0.02) ? this.#deps.random.between(0, 4000) : 1,
            next,
          );
        }, again);
      });
    };
    next();
    if (this.#deps.random.chance(0.5)) this.#later(6000, () => isCurrent() && this.connect());
  }

  /** The first change that the client was never told of, once everything has settled. */
  missed(): Committed | undefined {
    return this.#cursor === "" ? undefined : this.#untold()[0];
  }

  #handle(message: WatchMessage): void {
    const { cluster } = this.#deps;
    for (const change of message.changes) this.#told.add(idOf(change));
    if (message.cursor === "") return;
    this.#cursor = message.cursor;
    this.#fromMs ??= message.asOfMs;
    const isDue = (change: Committed) => cluster.clockAt(change.atMs) < message.asOfMs;
    if (message.resync) {
      const cursor = parseCursor(message.cursor);
      assert(cursor !== "of another version");
      const snapshot = parseSnapshot(cursor.snapshot);
      const isCovered = (change: Committed) =>
        isDue(change) || change.undone !== undefined || sees(snapshot, change.xactId);
      for (const change of this.#untold().filter(isCovered)) this.#told.add(idOf(change));
      return;
    }
    const due = this.#untold().filter(isDue);
    // An as_of from before the clock was set is not comparable.
    if (due[0] !== undefined && cluster.clockSetAtMs === Number.NEGATIVE_INFINITY) {
      this.#deps.onFault(
        `a watcher was told of as_of ${message.asOfMs} without ${due[0].xactId}, the change of ${nameOf(due[0].subjectId)}`,
      );
    }
  }

  #untold(): Committed[] {
    const { committed } = this.#deps.cluster;
    const fromMs = this.#fromMs ?? Number.POSITIVE_INFINITY;
    // A client need not be told of a change that was undone silently.
    const isDone = (change: Committed) =>
      change.undone === "silently" || this.#deps.cluster.clockAt(change.atMs) < fromMs || this.#told.has(idOf(change));
    while (this.#doneUpTo < committed.length && isDone(committed[this.#doneUpTo]!)) this.#doneUpTo++;
    return committed.slice(this.#doneUpTo).filter((change) => !isDone(change));
  }

  #later(meanMs: number, run: () => void): void {
    this.#deps.time.after(this.#deps.random.pause(meanMs), run);
  }
}

/** Times are fractions of milliseconds, so no two changes of a subject have the same one. */
function idOf({ subjectId, changedAtMs }: Pick<Committed, "subjectId" | "changedAtMs">): string {
  return `${subjectId} ${changedAtMs}`;
}
