/**
 * The record of a run: operations as their clients saw them, faults, messages to watchers, and the database's ledger.
 */
import type { Code } from "@connectrpc/connect";

/** Milliseconds since the epoch by the driver's monotonic clock, so that they compare with the database's times. */
export function nowMs(): number {
  return performance.timeOrigin + performance.now();
}

/** How an operation ended. */
export type Outcome =
  | { readonly kind: "ok" }
  /** An error of the service or of the client. Whether the operation took effect is in the ledger. */
  | {
      readonly kind: "error";
      readonly code: keyof typeof Code;
      /** `reason` of the service's ErrorInfo; "" where the client made the error itself. */
      readonly reason: string;
    };

interface OperationBase {
  readonly process: number;
  readonly startedMs: number;
  readonly endedMs: number;
  readonly outcome: Outcome;
}

/** VerifyKey, or one key of BatchVerifyKeys. The answer's fields are absent where there was none. */
export interface Verify extends OperationBase {
  readonly call: "verify";
  readonly keyId: string;
  readonly secret: string;
  /** "" for none. */
  readonly scope: string;
  /** The key's limit of calls a minute; undefined for one that is never reached. */
  readonly limit: number | undefined;
  readonly cost: number;
  readonly verdict?: string;
  readonly asOfMs?: number;
  readonly maxStalenessMs?: number;
  readonly degraded?: boolean;
  /** Part of the comparison with the database after all faults. */
  readonly isFinal: boolean;
}

export type ChangeCall =
  | "issue"
  | "revoke"
  | "disable"
  | "enable"
  | "delete"
  | "scopes"
  | "rotate"
  | "disableOwner"
  | "enableOwner";

/** A call that changes a key or an owner. */
export interface Change extends OperationBase {
  readonly call: ChangeCall;
  /** Key or owner. For an issue that failed: the name that was asked for. */
  readonly subject: string;
  /** With `issue`. */
  readonly ownerId?: string;
  /** With `scopes`: the new ones. */
  readonly scopes?: readonly string[];
  /** With `issue` and `rotate`: a name for the secret that was shown. The secret itself is never recorded. */
  readonly secret?: string;
}

export interface SessionCall extends OperationBase {
  readonly call: "login" | "refresh" | "logout" | "whoami";
  readonly sessionId: string;
  /** Of the refresh token that was shown. */
  readonly generation?: number;
  /** Of the refresh token in the answer, and a digest of it. */
  readonly nextGeneration?: number;
  readonly nextDigest?: string;
  readonly isFinal: boolean;
}

export interface LimitCall extends OperationBase {
  readonly call: "limit";
  readonly name: string;
  readonly limit: number;
  readonly allowed?: boolean;
  readonly degraded?: boolean;
}

export type Operation = Verify | Change | SessionCall | LimitCall;

/** The effects of a fault on what the checker believes. */
export interface FaultEffects {
  /** Commits may become visible late, answers come late, whole processes of the server may be gone. */
  readonly stopsPostgres?: boolean;
  /** Counts in Redis are gone. */
  readonly emptiesRedis?: boolean;
  /** These processes' connections end: their clients make errors of their own. */
  readonly endsProcesses?: readonly number[];
}

export interface FaultRecord extends FaultEffects {
  readonly kind: string;
  readonly target: string;
  readonly startedMs: number;
  readonly endedMs: number;
}

/** One message of WatchRevocations. */
export interface WatchMessage {
  readonly process: number;
  readonly receivedMs: number;
  readonly resync: boolean;
  /** `KEY key_…`, and so on. */
  readonly changes: readonly string[];
  /** undefined in all but the last part of a step. */
  readonly asOfMs: number | undefined;
}

/** All that one follower was told, over all of its streams. */
export interface Follower {
  readonly name: string;
  readonly messages: WatchMessage[];
}

/** A version of a row as a trigger noted it in the transaction that wrote it. */
export interface LedgerRow {
  readonly relation: "api_keys" | "users" | "sessions" | "key_secrets";
  /** Id of the key, user or session; for a secret that of its key. */
  readonly subject: string;
  readonly isDeletion: boolean;
  /** When its COMMIT was written, by the database's clock. */
  readonly committedMs: number;
  readonly facts: Readonly<Record<string, unknown>>;
}

/** A row of `changes`: what watchers must be told. */
export interface CommittedChange {
  /** As in WatchMessage.changes. */
  readonly what: string;
  readonly committedMs: number;
}

/** All that the checker knows. */
export interface History {
  readonly startedMs: number;
  readonly endedMs: number;
  readonly staleOkMs: number;
  readonly processes: number;
  /** How far the wall clock moved against the monotonic one during the run. */
  readonly clockDriftMs: number;
  readonly operations: readonly Operation[];
  readonly faults: readonly FaultRecord[];
  readonly followers: readonly Follower[];
  readonly ledger: readonly LedgerRow[];
  readonly changes: readonly CommittedChange[];
  /** Ends of processes that no fault explains. */
  readonly crashes: readonly { readonly process: number; readonly atMs: number; readonly output: string }[];
}

/** Something that no promise of the service allows. */
export interface Violation {
  readonly rule: string;
  readonly text: string;
  /** Key, session, limit or watcher that it is about. */
  readonly subject: string;
  readonly atMs: number;
}
