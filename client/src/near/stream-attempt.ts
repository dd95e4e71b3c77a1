import type { Change } from "../../../src/gen/latchkey/v1/change_pb.ts";

/** One call of WatchRevocations, from before it was sent. Only the cache changes it. */
export interface StreamAttempt {
  /** 1 for the first attempt of this cache; a later one has a larger number. */
  readonly number: number;
  /** The cursor that it was sent with; "" for a start without. */
  readonly cursor: string;
  /** `elapsedMs` before it was sent. */
  readonly openedAtMs: number;
  /** `skippedMs` of the clock at that moment. */
  readonly skippedMs: number;
  /** The epoch of its last message; undefined before the first. */
  epoch: bigint | undefined;
  hasEnded: boolean;
}

/** The effect of one message on the cache, for those who keep copies of their own. */
export interface AppliedMessage {
  /** The message began a new truth: everything kept was dropped. */
  readonly resync: boolean;
  /** After a resync, or a change of a kind that this version does not know: everything may have changed. */
  readonly mayChangeAll: boolean;
  /** The changes of the message. A KIND_KEY change also ends what is known of the key's limits. */
  readonly changes: readonly Change[];
  /** Whether the message had a cursor: everything up to its position was told. */
  readonly isWhole: boolean;
  readonly epoch: bigint;
  readonly position: bigint;
}
