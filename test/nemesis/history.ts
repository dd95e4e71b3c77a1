/**
 * The record of a run: operations as their clients saw them, faults, messages to watchers, and the database's ledger.
 */
import type { Code } from "@connectrpc/connect";

/** Milliseconds since the epoch by the driver's monotonic clock, comparable with the database's times. */
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
      /** `reason` of the service's ErrorInfo; "" if the client made the error itself. */
      readonly reason: string;
    };

interface OperationBase {
  readonly process: number;
  readonly startedMs: number;
  readonly endedMs: number;
  readonly outcome: Outcome;
}

/** VerifyKey, or one key of BatchVerifyKeys. Without an answer its fields are absent. */
export interface Verify extends OperationBase {
  readonly call: "verify";
  readonly keyId: string;
  readonly secret: string;
  /** The required scope; "" for none. */
  readonly scope: string;
  /** The key's limit of calls a minute; undefined for a limit that no run reaches. */
  readonly limit: number | undefined;
  readonly cost: number;
  readonly verdict?: string;
  readonly asOfMs?: number;
  readonly maxStalenessMs?: number;
  readonly degraded?: boolean;
  /** True if the call is part of the comparison with the database after all faults. */
  readonly isFinal: boolean;
}

/** A verdict of a client with near verification. Without one its last fields are absent. */
export interface NearVerify extends OperationBase {
  readonly call: "near";
  readonly keyId: string;
  readonly secret: string;
  /** The required scope; "" for none. */
  readonly scope: string;
  readonly verdict?: string;
  /** `near` without a call. */
  readonly source?: "near" | "service";
  readonly ageMs?: number;
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
  /** Id of the key or owner. For an issue that failed: the name of the key in the request. */
  readonly subject: string;
  /** With `issue`. */
  readonly ownerId?: string;
  /** With `scopes`: the new scopes. */
  readonly scopes?: readonly string[];
  /** With `issue` and `rotate`: a name for the new secret. The secret itself is never recorded. */
  readonly secret?: string;
  /** With an acknowledged `revoke`: its `revoke_time`, in ISO 8601. */
  readonly revokeTime?: string;
}

export interface SessionCall extends OperationBase {
  /** `reuse` is a refresh with a token older than the newest two, which must end the session. */
  readonly call: "login" | "refresh" | "logout" | "whoami" | "reuse";
  readonly sessionId: string;
  /** Generation of the refresh token in the request. */
  readonly generation?: number;
  /** Generation of the refresh token in the answer, and a digest of the token. */
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

export type Operation = Verify | NearVerify | Change | SessionCall | LimitCall;

/** The effects of a fault that the checker must allow for. */
export interface FaultEffects {
  /** True if commits may become visible late, answers may be late, and backends may end. */
  readonly stopsPostgres?: boolean;
  /** True if Redis loses its counts. */
  readonly emptiesRedis?: boolean;
  /** Processes whose connections end, so that their clients make errors of their own. */
  readonly endsProcesses?: readonly number[];
}

export interface FaultRecord extends FaultEffects {
  readonly kind: string;
  readonly target: string;
  readonly startedMs: number;
  readonly endedMs: number;
}

/** A start of a process, which answers nothing until it is ready. */
export interface StartRecord {
  /** NEAR_PROCESS for that of the near clients. */
  readonly process: number;
  readonly startedMs: number;
  /** When it was ready or had ended; undefined if it never was. */
  readyMs?: number;
}

/** One message of WatchRevocations. */
export interface WatchMessage {
  /** Number of the stream, of all streams of its follower. */
  readonly stream: number;
  readonly process: number;
  readonly receivedMs: number;
  readonly resync: boolean;
  /** Kind and id of each change, such as `KEY key_…`. */
  readonly changes: readonly string[];
  /** undefined in all parts of a step except the last one. */
  readonly asOfMs: number | undefined;
}

/** All messages to one follower, over all of its streams. */
export interface Follower {
  readonly name: string;
  readonly messages: WatchMessage[];
}

/** A version of a row, which a trigger recorded in the transaction that wrote it. */
export interface LedgerRow {
  readonly relation: "api_keys" | "users" | "sessions" | "key_secrets";
  /** Id of the key, user or session; for a secret the id of its key. */
  readonly subject: string;
  readonly isDeletion: boolean;
  /** When its COMMIT was written, by the database's clock. */
  readonly committedMs: number;
  readonly facts: Readonly<Record<string, unknown>>;
}

/** A row of `changes`, which every watcher must get. */
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
  /** The shift of the wall clock against the monotonic clock during the run. */
  readonly clockDriftMs: number;
  readonly operations: readonly Operation[];
  readonly faults: readonly FaultRecord[];
  readonly starts: readonly StartRecord[];
  readonly followers: readonly Follower[];
  readonly ledger: readonly LedgerRow[];
  readonly changes: readonly CommittedChange[];
  /** Ends of processes that no fault explains. */
  readonly crashes: readonly { readonly process: number; readonly atMs: number; readonly output: string }[];
}

/** A broken promise of the service. */
export interface Violation {
  readonly rule: string;
  readonly text: string;
  /** The key, session, limit or watcher of the violation. */
  readonly subject: string;
  readonly atMs: number;
}
