import pg from "pg";
import type { ChangeKind, CommittedChange } from "../changes/change.ts";
import { type ChangeStore, MAX_CHANGES_PER_POLL, type Poll } from "../changes/change-store.ts";
import { toDomainError } from "./conflicts.ts";
import { type Database, ms, type Row } from "./database.ts";
import { PORTION } from "./portions.ts";
import { whenSilent } from "./silent-connections.ts";
import { CHANGES_CHANNEL } from "./transaction.ts";

/** Connecting takes up to six round trips, with TLS and SCRAM. */
const CONNECT_TIMEOUT_MS = 5000;
/**
 * No caller waits for a poll, and its time is when it was sent: a slow one makes copies older, and never too fresh. Polls
 * come 1 s apart, so that one of 2 s each still keeps copies fresh. Only a query notices that the other end died silently.
 */
const POLL_TIMEOUT_MS = 2000;
const KEEP_ALIVE_AFTER_MS = 30_000;

/** The log of changes on the embedded database: one process, one connection. */
export class EmbeddedChangeStore implements ChangeStore {
  readonly isListening = true;
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  poll(since: string | undefined): Promise<Poll> {
    return catchUp(this.#database, since);
  }

  catchUp(since: string | undefined): Promise<Poll> {
    return catchUp(this.#database, since);
  }

  listen(onSignal: () => void): () => void {
    return this.#database.listen(onSignal);
  }

  endedSessions(...input: Parameters<ChangeStore["endedSessions"]>): Promise<readonly CommittedChange[]> {
    return endedSessions(this.#database, ...input);
  }

  prune(olderThanMs: number): Promise<boolean> {
    return prune(this.#database, olderThanMs);
  }
}

/**
 * The log of changes on PostgreSQL, polled on a connection of its own that listens for signals too. A connection that
 * fails is dropped; the next poll makes a new one.
 */
export class PostgresChangeStore implements ChangeStore {
  readonly #database: Database;
  readonly #url: string;
  #client: Promise<pg.Client> | undefined;
  #isListening = false;
  #onSignal: () => void = () => {};

  constructor(database: Database, url: string) {
    this.#database = database;
    this.#url = url;
  }

  get isListening(): boolean {
    return this.#isListening;
  }

  async poll(since: string | undefined): Promise<Poll> {
    const parameter = since ?? null;
    this.#client ??= this.#connect();
    const listening = this.#client;
    try {
      const client = await listening;
      const answer = client.query<Row>(pollSql(this.#database.now, "$1"), [parameter]);
      whenSilent(answer, POLL_TIMEOUT_MS, () => this.#drop(listening));
      return toPoll((await answer).rows[0]!);
    } catch (error) {
      this.#drop(listening);
      throw toDomainError(error);
    }
  }

  catchUp(since: string | undefined): Promise<Poll> {
    return catchUp(this.#database, since);
  }

  listen(onSignal: () => void): () => void {
    this.#onSignal = onSignal;
    return () => {
      this.#onSignal = () => {};
      if (this.#client !== undefined) this.#drop(this.#client);
    };
  }

  endedSessions(...input: Parameters<ChangeStore["endedSessions"]>): Promise<readonly CommittedChange[]> {
    return endedSessions(this.#database, ...input);
  }

  prune(olderThanMs: number): Promise<boolean> {
    return prune(this.#database, olderThanMs);
  }

  #connect(): Promise<pg.Client> {
    const client = new pg.Client({
      connectionString: this.#url,
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      statement_timeout: POLL_TIMEOUT_MS,
      keepAlive: true,
      keepAliveInitialDelayMillis: KEEP_ALIVE_AFTER_MS,
      application_name: "latchkey-changes",
    });
    const listening = listenOn(client);
    // Without a listener a terminated backend would end the process.
    client.on("error", () => this.#lose(listening));
    client.on("end", () => this.#lose(listening));
    client.on("notification", () => this.#onSignal());
    listening.then(
      () => {
        if (this.#client === listening) this.#isListening = true;
      },
      () => {},
    );
    return listening;
  }

  /** A connection ended by itself. Signals may be lost from now on, so the feed is told to look for itself. */
  #lose(listening: Promise<pg.Client>): void {
    const wasListening = this.#isListening && this.#client === listening;
    this.#drop(listening);
    if (wasListening) this.#onSignal();
  }

  /** Ends this connection, and forgets it unless another one is in its place already. */
  #drop(listening: Promise<pg.Client>): void {
    if (this.#client === listening) {
      this.#client = undefined;
      this.#isListening = false;
    }
    void listening.then(destroy, () => {});
  }
}

/** Connects and listens; a connection that fails at either is destroyed. */
async function listenOn(client: pg.Client): Promise<pg.Client> {
  try {
    await client.connect();
    const answer = client.query(`listen ${CHANGES_CHANNEL}`);
    whenSilent(answer, POLL_TIMEOUT_MS, () => destroy(client));
    await answer;
    return client;
  } catch (error) {
    destroy(client);
    throw error;
  }
}

/** `end()` would say goodbye to a server that may be frozen, and wait. */
function destroy(client: pg.Client): void {
  (client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
}

async function catchUp(database: Database, since: string | undefined): Promise<Poll> {
  const sql = pollSql(database.now, "?");
  const [row] = await database.read(sql, new Array<string | null>(sql.split("?").length - 1).fill(since ?? null));
  return toPoll(row!);
}

/**
 * One statement, so that snapshot and rows are of the same moment. Parameter: the snapshot before, or null.
 *
 * A snapshot has not seen what began after it was taken, and what was under way then. Asked in these two parts, which is
 * what `not pg_visible_in_snapshot()` means, the index finds the rows, however long the oldest transaction is open.
 * One that is still under way has lost no rows to age; one that has ended may have, if any as young as it were deleted.
 *
 * @param parameter how the driver marks it
 */
function pollSql(now: string, parameter: "?" | "$1"): string {
  const since = `${parameter}::pg_snapshot`;
  const most = MAX_CHANGES_PER_POLL + 1;
  return `select s.now::text as snapshot, pg_snapshot_xmin(s.now)::text as xmin, pg_snapshot_xmax(s.now)::text as xmax,
      ${ms(now)} as now_ms, pg_is_in_recovery() as in_recovery,
      (select system_identifier::text from pg_control_system()) as system_id,
      (extract(epoch from pg_postmaster_start_time()) * 1000000)::bigint::text as server_start,
      case when pg_is_in_recovery() then 0
           else ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int end as timeline,
      coalesce((
        select pruned >= pg_snapshot_xmax(${since}) or exists (
          select from pg_snapshot_xip(${since}) x where x <= pruned and pg_visible_in_snapshot(x, s.now)
        ) from change_horizon
      ), false) as has_gap,
      coalesce((
        select json_agg(json_build_array(c.kind, c.subject_id, ${ms("c.changed_at")}, c.xact_id::text)) from (
          (select * from changes where xact_id >= pg_snapshot_xmax(${since}) order by xact_id limit ${most})
          union all
          (select * from changes where xact_id = any (array(select pg_snapshot_xip(${since}))) limit ${most})
        ) c
      ), '[]') as changes
    from (select pg_current_snapshot() as now) s`;
}

function toPoll(row: Row): Poll {
  const changes = row.changes as ChangeColumns[];
  const hasGap = (row.has_gap as boolean) || changes.length > MAX_CHANGES_PER_POLL;
  return {
    epoch: { systemId: row.system_id as string, timeline: row.timeline as number },
    serverStart: row.server_start as string,
    snapshot: row.snapshot as string,
    xmin: BigInt(row.xmin as string),
    xmax: BigInt(row.xmax as string),
    databaseMs: row.now_ms as number,
    isInRecovery: row.in_recovery as boolean,
    hasGap,
    changes: hasGap ? [] : toChanges(changes),
  };
}

type ChangeColumns = readonly [kind: ChangeKind, subjectId: string, changedAtMs: number, xactId: string];

function toChanges(rows: readonly ChangeColumns[]): CommittedChange[] {
  return rows.map(([kind, subjectId, changedAtMs, xactId]) => ({
    kind,
    subjectId,
    changedAtMs,
    position: BigInt(xactId),
  }));
}

async function endedSessions(
  database: Database,
  withinMs: number,
  limit: number,
  after: CommittedChange | undefined,
): Promise<readonly CommittedChange[]> {
  const [behind, parameters] =
    after === undefined
      ? [`ended_at > ${database.now} - ?::float8 * interval '1 millisecond'`, [withinMs]]
      : ["(ended_at, id) > (?::timestamptz, ?)", [new Date(after.changedAtMs).toISOString(), after.subjectId]];
  const rows = await database.read(
    `select id, ${ms("ended_at")} as ended_ms from sessions where ${behind} order by ended_at, id limit ?::int`,
    [...parameters, limit],
  );
  return rows.map((row) => ({
    kind: "SESSION" as const,
    subjectId: row.id as string,
    changedAtMs: Math.round(row.ended_ms as number),
    position: 0n,
  }));
}

async function prune(database: Database, olderThanMs: number): Promise<boolean> {
  const deleted = await database.write(
    `with old as (
       select id, xact_id from changes where changed_at < ${database.now} - ?::float8 * interval '1 millisecond'
       order by changed_at limit ${PORTION} for update skip locked
     ), moved as (
       update change_horizon set pruned = greatest(pruned, (select xact_id from old order by xact_id desc limit 1))
     )
     delete from changes c using old where c.id = old.id`,
    [olderThanMs],
  );
  return deleted === PORTION;
}
