import type { Key, KeyOwner, KeySecretDigest, StoredKeyState } from "../../src/keys/key.ts";

/** A row of the simulated database. No two versions have the same number. */
export interface Row {
  readonly version: number;
  /** An owner is only active or disabled; the row of a session says that it ended. */
  readonly state: StoredKeyState;
  /** The fields that differ from the sample's. */
  readonly key?: Partial<Key>;
  readonly owner?: Partial<KeyOwner>;
  /** The stored secrets of a key; its first alone if absent. */
  readonly secrets?: readonly KeySecretDigest[];
  /** By the database's clock; only of a session. */
  readonly endedAtMs?: number;
}

/** A period in which something was true. */
export interface Era {
  readonly row: Row | undefined;
  readonly fromMs: number;
  untilMs: number;
  /** The transaction that ended it; undefined while it lasts, and if a failover ended it. */
  endedBy: { readonly xactId: number; readonly life: number } | undefined;
}

/** The history of what was true, in true time. A commit counts from the moment at which a snapshot could see it. */
export class Truth {
  readonly #eras = new Map<string, Era[]>();

  set(subjectId: string, row: Row | undefined, atMs: number, endedBy?: Era["endedBy"]): void {
    const eras = this.#erasOf(subjectId);
    const last = eras.at(-1)!;
    if (last.row?.version === row?.version) return;
    last.untilMs = atMs;
    last.endedBy = endedBy;
    eras.push({ row, fromMs: atMs, untilMs: Number.POSITIVE_INFINITY, endedBy: undefined });
  }

  now(subjectId: string): Row | undefined {
    return this.#erasOf(subjectId).at(-1)!.row;
  }

  /** The last era of this version. The version undefined means the absence of the row. */
  lastEraOf(subjectId: string, version: number | undefined): Era | undefined {
    return this.#erasOf(subjectId).findLast(({ row }) => row?.version === version);
  }

  /** The eras that overlap the time from `fromMs` to now, the oldest first. */
  erasSince(subjectId: string, fromMs: number): readonly Era[] {
    return this.#erasOf(subjectId).filter(({ untilMs }) => untilMs >= fromMs);
  }

  /** Whether the row was ever written. */
  hasChanged(subjectId: string): boolean {
    return this.#erasOf(subjectId).length > 1;
  }

  /** True time of the last change. */
  changedAtMs(subjectId: string): number {
    return this.#erasOf(subjectId).at(-1)!.fromMs;
  }

  get subjects(): readonly string[] {
    return [...this.#eras.keys()];
  }

  #erasOf(subjectId: string): Era[] {
    const known = this.#eras.get(subjectId);
    if (known !== undefined) return known;
    const dawn = Number.NEGATIVE_INFINITY;
    const eras: Era[] = [{ row: undefined, fromMs: dawn, untilMs: Number.POSITIVE_INFINITY, endedBy: undefined }];
    this.#eras.set(subjectId, eras);
    return eras;
  }
}
