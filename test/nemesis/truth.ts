/**
 * The truth at each time, from the ledger: the versions of the row of each key, owner, secret and session. Each version
 * has the earliest and the latest moment at which it became visible. Pure.
 */
import type { Change, FaultRecord, History, LedgerRow, SessionCall } from "./history.ts";

/** A version of a row. Versions of one row become visible in the order of the list. */
export interface Version<T> {
  readonly value: T;
  /** When its COMMIT was written. */
  readonly fromMs: number;
  /** From this time on every new snapshot sees it. */
  visibleMs: number;
}

export interface KeyFacts {
  readonly state: string;
  readonly isDeleted: boolean;
  readonly scopes: readonly string[];
  readonly ownerId: string;
}

export interface SessionFacts {
  readonly generation: number;
  readonly isEnded: boolean;
  readonly endReason: string | undefined;
}

export interface SecretFacts {
  readonly digest: string;
  /** undefined if the secret does not end. */
  readonly expiresAtMs: number | undefined;
}

/**
 * Maximum time from the record of a COMMIT until it is visible: a flush and a lock lie between, on a busy machine. An
 * acknowledgement proves an exact time.
 */
const VISIBLE_WITHIN_MS = 2000;
/** Tolerance between the clocks of driver and database, which run on one machine. */
const ROUNDING_MS = 2;

export class Truth {
  readonly keys = new Map<string, Version<KeyFacts>[]>();
  readonly owners = new Map<string, Version<string>[]>();
  readonly sessions = new Map<string, Version<SessionFacts>[]>();
  /** By the name of the secret in the history. */
  readonly secrets = new Map<string, Version<SecretFacts | undefined>[]>();
  readonly #secretRows: ReadonlyMap<string, readonly LedgerRow[]>;
  readonly #stops: readonly FaultRecord[];

  constructor({ ledger, faults, operations }: Pick<History, "ledger" | "faults" | "operations">) {
    this.#stops = faults.filter((fault) => fault.stopsPostgres);
    for (const row of ledger) this.#addRow(row);
    this.#secretRows = Map.groupBy(
      ledger.filter(({ relation }) => relation === "key_secrets"),
      ({ subject }) => subject,
    );
    const changes = operations.filter(isChange);
    for (const change of changes) this.#addSecret(change);
    for (const change of changes) this.#acknowledge(change);
    for (const operation of operations) {
      if (operation.call !== "logout" || operation.outcome.kind !== "ok") continue;
      const end = this.sessions.get(operation.sessionId)?.find(({ value }) => value.isEnded);
      if (end !== undefined) end.visibleMs = Math.max(end.fromMs, Math.min(end.visibleMs, operation.endedMs));
    }
  }

  /**
   * The latest moment at which a COMMIT of this time became visible. It is later if the server was stopped meanwhile.
   */
  visibleMs(committedMs: number): number {
    let byMs = committedMs + VISIBLE_WITHIN_MS;
    for (const stop of this.#stops) {
      if (stop.startedMs <= byMs && stop.endedMs >= committedMs)
        byMs = Math.max(byMs, stop.endedMs + VISIBLE_WITHIN_MS);
    }
    return byMs;
  }

  /** The version of a key that an acknowledged change made or found, if there is one. */
  versionFor(change: Change): Version<KeyFacts> | Version<string> | undefined {
    const { call, subject, endedMs, scopes } = change;
    const isBefore = ({ fromMs }: Version<unknown>) => fromMs <= endedMs + 1;
    if (call === "disableOwner" || call === "enableOwner") {
      const wanted = call === "disableOwner" ? "disabled" : "active";
      return this.owners.get(subject)?.findLast((version) => isBefore(version) && version.value === wanted);
    }
    const key = this.keys.get(subject);
    return key?.findLast((version) => isBefore(version) && fits(version.value, call, scopes));
  }

  /** Whether a secret of this key was written while this call ran. */
  hasSecretWithin({ subject, startedMs, endedMs }: Change): boolean {
    return this.#secretRows.get(subject)?.some((row) => isWithin(row, startedMs, endedMs)) ?? false;
  }

  #addRow(row: LedgerRow): void {
    const { relation, subject, facts, committedMs } = row;
    const times = { fromMs: committedMs, visibleMs: this.visibleMs(committedMs) };
    switch (relation) {
      case "api_keys":
        append(this.keys, subject, { ...times, value: keyFacts(facts) });
        return;
      case "users":
        append(this.owners, subject, { ...times, value: facts.state as string });
        return;
      case "sessions":
        append(this.sessions, subject, { ...times, value: sessionFacts(facts) });
        return;
      case "key_secrets":
        return;
      default:
        relation satisfies never;
    }
  }

  /** Finds the digest of a secret by time. It must be the only new digest of its key while the secret was issued. */
  #addSecret(change: Change): void {
    if (change.secret === undefined || change.outcome.kind !== "ok") return;
    const { startedMs, endedMs } = change;
    const rows = this.#secretRows.get(change.subject) ?? [];
    const firsts = rows.filter((row, at) => rows.findIndex((one) => digestOf(one) === digestOf(row)) === at);
    const [made, ...others] = firsts.filter((row) => isWithin(row, startedMs, endedMs));
    if (made === undefined || others.length > 0) return;
    const ofSecret = rows.filter((row) => digestOf(row) === digestOf(made));
    this.secrets.set(
      change.secret,
      ofSecret.map(({ committedMs, isDeletion, facts }) => ({
        value: isDeletion ? undefined : secretFacts(facts),
        fromMs: committedMs,
        visibleMs: this.visibleMs(committedMs),
      })),
    );
  }

  /** An acknowledgement proves that its version and all earlier ones are visible. */
  #acknowledge(change: Change): void {
    if (change.outcome.kind !== "ok") return;
    const version = this.versionFor(change);
    if (version !== undefined)
      version.visibleMs = Math.min(version.visibleMs, Math.max(change.endedMs, version.fromMs));
    if (change.secret === undefined) return;
    const known = [...this.secrets].filter(([name]) => name.startsWith(`${change.subject} `));
    for (const version of known.flatMap(([, versions]) => versions)) {
      if (isWithin({ committedMs: version.fromMs }, change.startedMs, change.endedMs))
        version.visibleMs = change.endedMs;
    }
  }
}

/**
 * The values that a row may have shown at some moment of a time span; undefined stands for no row.
 */
export function possible<T>(
  versions: readonly Version<T>[] | undefined,
  fromMs: number,
  toMs: number,
): readonly (T | undefined)[] {
  if (versions === undefined || versions.length === 0) return [undefined];
  const values: (T | undefined)[] = versions[0]!.visibleMs > fromMs ? [undefined] : [];
  for (const [at, version] of versions.entries()) {
    const next = versions[at + 1];
    if (version.fromMs <= toMs && (next === undefined || next.visibleMs > fromMs)) values.push(version.value);
  }
  return values;
}

export function isChange(operation: { readonly call: string }): operation is Change {
  return !["verify", "near", "login", "refresh", "logout", "whoami", "reuse", "limit"].includes(operation.call);
}

export function isSessionCall(operation: { readonly call: string }): operation is SessionCall {
  return ["login", "refresh", "logout", "whoami", "reuse"].includes(operation.call);
}

function fits(facts: KeyFacts, call: Change["call"], scopes: readonly string[] | undefined): boolean {
  switch (call) {
    case "issue":
    case "rotate":
      return true;
    case "revoke":
      return facts.state === "revoked";
    case "delete":
      return facts.isDeleted;
    case "disable":
      return facts.state === "disabled";
    case "enable":
      return facts.state === "active";
    case "scopes":
      return facts.scopes.join() === scopes?.join();
    case "disableOwner":
    case "enableOwner":
      return false;
    default:
      return call satisfies never;
  }
}

function append<T>(lists: Map<string, Version<T>[]>, id: string, version: Version<T>): void {
  const list = lists.get(id);
  if (list === undefined) lists.set(id, [version]);
  else list.push(version);
}

function keyFacts(facts: LedgerRow["facts"]): KeyFacts {
  return {
    state: facts.state as string,
    isDeleted: facts.deleted_at !== null && facts.deleted_at !== undefined,
    scopes: facts.scopes as string[],
    ownerId: facts.owner_id as string,
  };
}

function sessionFacts(facts: LedgerRow["facts"]): SessionFacts {
  return {
    generation: facts.generation as number,
    isEnded: facts.ended_at !== null,
    endReason: (facts.end_reason as string | null) ?? undefined,
  };
}

function secretFacts(facts: LedgerRow["facts"]): SecretFacts {
  const end = facts.expires_at as string | null;
  return { digest: facts.digest as string, expiresAtMs: end === null ? undefined : Date.parse(end) };
}

function isWithin({ committedMs }: { readonly committedMs: number }, fromMs: number, toMs: number): boolean {
  return committedMs >= fromMs - ROUNDING_MS && committedMs <= toMs + ROUNDING_MS;
}

function digestOf({ facts }: LedgerRow): string {
  return facts.digest as string;
}
