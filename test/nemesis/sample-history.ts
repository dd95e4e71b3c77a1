/** Hand-made histories for the tests of the checker: one key, one owner, one session. Times are small numbers. */
import type {
  Change,
  ChangeCall,
  FaultRecord,
  History,
  LedgerRow,
  LimitCall,
  NearVerify,
  Operation,
  SessionCall,
  Verify,
  WatchMessage,
} from "./history.ts";

export const KEY = "key_1";
export const OWNER = "usr_1";
export const SESSION = "ses_1";
export const SECRET = "key_1 1";
const OK = { kind: "ok" } as const;

/** The ledger of a key that was issued at 1000, with the first version of its owner and a session. */
export const FIRST_ROWS: readonly LedgerRow[] = [
  row("users", OWNER, 500, { state: "active" }),
  row("api_keys", KEY, 1000, { state: "active", deleted_at: null, scopes: ["read"], owner_id: OWNER }),
  row("key_secrets", KEY, 1000, { digest: "\\x01", expires_at: null }),
  row("sessions", SESSION, 1000, { generation: 1, ended_at: null, end_reason: null }),
];

export const ISSUE = change("issue", 990, 1010, { secret: SECRET });

export function row(
  relation: LedgerRow["relation"],
  subject: string,
  committedMs: number,
  facts: LedgerRow["facts"],
  isDeletion = false,
): LedgerRow {
  return { relation, subject, committedMs, facts, isDeletion };
}

/** A later version of the key. */
export function keyRow(committedMs: number, facts: LedgerRow["facts"]): LedgerRow {
  return row("api_keys", KEY, committedMs, { ...FIRST_ROWS[1]!.facts, ...facts });
}

export function sessionRow(committedMs: number, facts: LedgerRow["facts"]): LedgerRow {
  return row("sessions", SESSION, committedMs, { ...FIRST_ROWS[3]!.facts, ...facts });
}

export function change(call: ChangeCall, startedMs: number, endedMs: number, more: Partial<Change> = {}): Change {
  const subject = call === "disableOwner" || call === "enableOwner" ? OWNER : KEY;
  return { call, process: 0, subject, startedMs, endedMs, outcome: OK, ...more };
}

/** An answer of process 1 that took 2 ms and is as of the start of its call. */
export function verdict(said: string, endedMs: number, more: Partial<Verify> = {}): Verify {
  return {
    call: "verify",
    process: 1,
    keyId: KEY,
    secret: SECRET,
    scope: "",
    limit: undefined,
    cost: 0,
    startedMs: endedMs - 2,
    endedMs,
    outcome: OK,
    verdict: said,
    asOfMs: endedMs - 2,
    maxStalenessMs: 5000,
    degraded: false,
    isFinal: false,
    ...more,
  };
}

/** A verdict of the near client of process 1 without a call, 1 s old. */
export function near(said: string, endedMs: number, more: Partial<NearVerify> = {}): NearVerify {
  const call = { call: "near", process: 1, keyId: KEY, secret: SECRET, scope: "", startedMs: endedMs - 2 } as const;
  return { ...call, endedMs, outcome: OK, verdict: said, source: "near", ageMs: 1000, ...more };
}

export function failed(code: string, endedMs: number, more: Partial<Verify> = {}): Verify {
  const { verdict: _, asOfMs: __, maxStalenessMs: ___, ...rest } = verdict("", endedMs);
  return { ...rest, outcome: { kind: "error", code: code as never, reason: "DATABASE_UNAVAILABLE" }, ...more };
}

export function sessionCall(call: SessionCall["call"], endedMs: number, more: Partial<SessionCall> = {}): SessionCall {
  const base = { sessionId: SESSION, process: 1, startedMs: endedMs - 2, endedMs, outcome: OK, isFinal: false };
  return { call, ...base, ...more };
}

export function limitCall(endedMs: number, more: Partial<LimitCall> = {}): LimitCall {
  const base = { name: "subject", limit: 4, process: 0, startedMs: endedMs - 2, endedMs, outcome: OK };
  return { call: "limit", ...base, allowed: true, degraded: false, ...more };
}

export function message(receivedMs: number, more: Partial<WatchMessage> = {}): WatchMessage {
  return { stream: 1, process: 1, receivedMs, resync: false, changes: [], asOfMs: receivedMs - 1, ...more };
}

export function fault(startedMs: number, endedMs: number, more: Partial<FaultRecord>): FaultRecord {
  return { kind: "fault", target: "all", startedMs, endedMs, ...more };
}

/** A history with the first rows, these operations and more. */
export function history(operations: readonly Operation[], more: Partial<History> = {}): History {
  return {
    startedMs: 0,
    endedMs: 200_000,
    staleOkMs: 10_000,
    processes: 3,
    clockDriftMs: 0,
    faults: [],
    starts: [],
    followers: [],
    changes: [],
    crashes: [],
    ...more,
    operations: [ISSUE, ...operations],
    ledger: [...FIRST_ROWS, ...(more.ledger ?? [])],
  };
}
