import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Change_Kind as Kind } from "../../src/gen/latchkey/v1/change_pb.ts";
import type {
  WatchRevocationsRequest,
  WatchRevocationsResponseSchema,
} from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { type AgeClock, systemTimers } from "../../src/lib/clock.ts";

interface FakeChange {
  readonly kind: Kind;
  readonly subjectId: string;
  readonly changedAtMs: number;
  readonly position: bigint;
}

/** The history and the settings of a service in memory never change. */
export const FAKE_EPOCH = 1n;
const POLL_MS = 1000;

/** The changes of a service in memory, and the streams that tell of them. */
export class FakeChanges {
  readonly #clock: AgeClock;
  readonly #changes: FakeChange[] = [];
  readonly #wakes = new Set<() => void>();

  constructor(clock: AgeClock) {
    this.#clock = clock;
  }

  /** The position of a record that is read now: each change is a transaction. */
  get position(): bigint {
    return BigInt(this.#changes.length + 1);
  }

  note(kind: Kind, subjectId: string): void {
    const position = this.position + 1n;
    this.#changes.push({ kind, subjectId, changedAtMs: this.#clock.nowMs(), position });
    for (const wake of this.#wakes) wake();
  }

  /** WatchRevocations: a message for each change, and each second. A cursor is the number of changes before it. */
  async *watch({ cursor }: WatchRevocationsRequest, signal: AbortSignal) {
    const openedAtMs = this.#clock.elapsedMs();
    let told = cursor === "" ? this.#changes.length : Number(cursor);
    // A start tells the sessions that have ended.
    let changes = cursor === "" ? this.#changes.filter(({ kind }) => kind === Kind.SESSION) : this.#changes.slice(told);
    let wake = () => {};
    const wakeThis = () => wake();
    this.#wakes.add(wakeThis);
    signal.addEventListener("abort", wakeThis);
    try {
      while (!signal.aborted) {
        told = this.#changes.length;
        yield this.#message(changes, openedAtMs);
        if (told === this.#changes.length) {
          const { promise, resolve } = Promise.withResolvers<void>();
          wake = resolve;
          const cancel = systemTimers.after(POLL_MS, resolve);
          await promise;
          cancel();
        }
        changes = this.#changes.slice(told);
      }
    } finally {
      this.#wakes.delete(wakeThis);
      signal.removeEventListener("abort", wakeThis);
    }
  }

  #message(
    changes: readonly FakeChange[],
    openedAtMs: number,
  ): MessageInitShape<typeof WatchRevocationsResponseSchema> {
    return {
      cursor: `${this.#changes.length}`,
      changes: changes.map(({ kind, subjectId, changedAtMs, position }) => ({
        ...{ kind, subjectId, position },
        changeTime: timestampFromMs(changedAtMs),
      })),
      position: this.position,
      serveTime: timestampFromMs(this.#clock.nowMs()),
      epoch: FAKE_EPOCH,
      asOfElapsed: durationFromMs(Math.floor(this.#clock.elapsedMs() - openedAtMs)),
    };
  }
}
