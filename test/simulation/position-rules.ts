import { positionOf } from "../../src/changes/snapshot.ts";
import type { Committed } from "./cluster.ts";
import { parseSnapshot, sees } from "./postgres-model.ts";

/** A snapshot that some process polled, with the position that the service gives it. */
interface Polled {
  readonly life: number;
  readonly position: bigint;
  readonly snapshot: ReturnType<typeof parseSnapshot>;
}

/** Number of snapshots and of changes that are compared. */
const REMEMBERED = 40;

/**
 * The promise of positions: of two snapshots of one history, the one of the greater or equal position sees every change
 * that the other sees. All snapshots of all processes are compared with each other.
 */
export class PositionRules {
  readonly #committed: readonly Committed[];
  #polled: Polled[] = [];
  /** The first broken promise. */
  fault: string | undefined;

  constructor(committed: readonly Committed[]) {
    this.#committed = committed;
  }

  note(life: number, text: string): void {
    const latest = { life, position: positionOf(text), snapshot: parseSnapshot(text) };
    for (const earlier of this.#polled) this.fault ??= this.#compare(earlier, latest) ?? this.#compare(latest, earlier);
    this.#polled = [...this.#polled.slice(-REMEMBERED), latest];
  }

  /** A snapshot that sees a change, of at most this position. */
  seenBy(change: { readonly xactId: number; readonly life: number }, position: bigint): bigint | undefined {
    const saw = this.#polled.find(
      (one) => one.life === change.life && one.position <= position && sees(one.snapshot, change.xactId),
    );
    return saw?.position;
  }

  #compare(lower: Polled, greater: Polled): string | undefined {
    if (lower.life !== greater.life || lower.position > greater.position) return undefined;
    const missing = this.#committed
      .slice(-REMEMBERED)
      .find(
        ({ life, xactId }) => life === lower.life && sees(lower.snapshot, xactId) && !sees(greater.snapshot, xactId),
      );
    return (
      missing &&
      `a snapshot of position ${greater.position} lacks ${missing.xactId}, which one of ${lower.position} sees`
    );
  }
}
