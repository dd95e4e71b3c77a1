import type { CommittedChange } from "../../changes/change.ts";
import type { ChangeStore, Poll } from "../../changes/change-store.ts";
import type { DatabaseConnection } from "../../lib/database-connection.ts";
import type { Log } from "../../lib/log.ts";
import { settleWithin } from "../../lib/settle-within.ts";
import { whenSilent } from "../../lib/when-silent.ts";
import { destroy, PostgresClient } from "../connections/connection.ts";
import { Signals } from "../connections/signals.ts";
import { type ManagedDatabase, ms, type Row } from "../database.ts";
import { inPlaces, MAX_DELETED, MAY_PRUNE } from "../delete-oldest.ts";
import { pollAsFeed, pollEmbedded, pollForClient } from "../rows/change-polls.ts";

/** Timeout of connecting, which takes up to 6 round trips with TLS and SCRAM. */
const CONNECT_TIMEOUT_MS = 5000;
/**
 * Timeout of a poll. No caller waits for a poll. A poll counts from the time at which it was sent, so a slow poll makes
 * copies older, but never lets them seem fresher than they are. Polls are 1 s apart, so polls of 2 s each still keep
 * copies fresh. If the server's machine dies without closing the connection, only a query notices it.
 */
const POLL_TIMEOUT_MS = 2000;
/** Timeout of LISTEN: 2 or 3 round trips, and 1 s for the probe of a pooler that delivers no signals. */
const LISTEN_TIMEOUT_MS = 4000;

/** The log of changes on the embedded database: one process, one connection. */
export class EmbeddedChangeStore implements ChangeStore {
  readonly isListening = true;
  readonly #database: ManagedDatabase;

  constructor(database: ManagedDatabase) {
    this.#database = database;
  }

  poll(since: string | undefined): Promise<Poll> {
    return pollEmbedded(this.#database, since);
  }

  catchUp(since: string | undefined): Promise<Poll> {
    return pollForClient(this.#database, since);
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
 * How long the feed's connection is kept. After a failover without fencing, an abandoned primary keeps its connections,
 * and this process follows it for at most this time. The same as FRESH_MS of changes/freshness.ts.
 */
const MAX_LIFE_MS = 5000;
/** Minimum time between two connections that are made because answers come from another history than the feed's. */
const REPLACE_REST_MS = 1000;
const CLOSE_MS = 1000;

/**
 * The log of changes on PostgreSQL. Polls have their own connection, which also listens for signals. A failed
 * connection is dropped, and the next poll makes a new one. A working connection is replaced every MAX_LIFE_MS, once
 * its successor listens. The successor connects to the server that DATABASE_URL leads to at that time.
 */
export class PostgresChangeStore implements ChangeStore {
  readonly #database: ManagedDatabase;
  readonly #connection: DatabaseConnection;
  readonly #signals: Signals;
  #client: Promise<PostgresClient> | undefined;
  #isListening = false;
  /** The connections that signals reach. */
  readonly #hears = new WeakSet<Promise<PostgresClient>>();
  /** The next connection, which is connected already. The next poll uses it. */
  #successor: Promise<PostgresClient> | undefined;
  #isReplacing = false;
  #mayReplaceSoon = true;
  #isStopped = false;
  #onSignal: () => void = () => {};

  /** @param connection in the schema that the database was opened in */
  constructor(database: ManagedDatabase, connection: DatabaseConnection, log?: Log) {
    this.#database = database;
    this.#connection = connection;
    this.#signals = new Signals({ database, log });
    database.history.whenOther(() => this.#replaceSoon());
  }

  get isListening(): boolean {
    return this.#isListening;
  }

  async poll(since: string | undefined): Promise<Poll> {
    const listening = this.#current();
    try {
      const client = await listening;
      const { now, history } = this.#database;
      const run = (sql: string, parameters: readonly unknown[]) => {
        const answer = client.query<Row>(sql, [...parameters]);
        whenSilent(answer, POLL_TIMEOUT_MS, () => this.#drop(listening));
        return answer;
      };
      const read = async (sql: string, parameters: readonly unknown[]) => (await run(sql, parameters)).rows;
      const write = async (sql: string) => (await run(sql, [])).rowCount ?? 0;
      return await pollAsFeed({ now, parameter: "$1", read, write }, history, since);
    } catch (error) {
      this.#drop(listening);
      throw this.#database.failed(error);
    }
  }

  catchUp(since: string | undefined): Promise<Poll> {
    return pollForClient(this.#database, since);
  }

  listen(onSignal: () => void): () => void {
    this.#onSignal = onSignal;
    const life = setInterval(() => void this.#replace(), MAX_LIFE_MS);
    life.unref();
    return () => {
      this.#isStopped = true;
      this.#onSignal = () => {};
      clearInterval(life);
      for (const each of [this.#client, this.#successor]) if (each !== undefined) this.#drop(each);
    };
  }

  endedSessions(...input: Parameters<ChangeStore["endedSessions"]>): Promise<readonly CommittedChange[]> {
    return endedSessions(this.#database, ...input);
  }

  prune(olderThanMs: number): Promise<boolean> {
    return prune(this.#database, olderThanMs);
  }

  #connect(): Promise<PostgresClient> {
    const client = new PostgresClient(this.#connection, {
      purpose: "changes",
      connectMs: CONNECT_TIMEOUT_MS,
      statementTimeoutMs: POLL_TIMEOUT_MS,
    });
    const heard = connect(client, this.#signals);
    const listening = heard.then(() => client);
    // Without a listener for `error`, a terminated backend would end the process.
    client.on("error", () => this.#lose(listening));
    client.on("end", () => this.#lose(listening));
    client.on("notification", () => this.#onSignal());
    heard.then(
      (isHeard) => {
        if (isHeard) this.#hears.add(listening);
        if (this.#client === listening) this.#isListening = isHeard;
      },
      () => {},
    );
    return listening;
  }

  /** The connection for the next poll. No poll is under way, so the connection before may end here. */
  #current(): Promise<PostgresClient> {
    if (this.#successor !== undefined) {
      const before = this.#client;
      this.#client = this.#successor;
      this.#successor = undefined;
      this.#isListening = this.#hears.has(this.#client);
      void before?.then(retire, () => {});
    }
    this.#client ??= this.#connect();
    return this.#client;
  }

  /** Connects to the server that DATABASE_URL now leads to. If that fails, the working connection stays. */
  async #replace(): Promise<void> {
    if (this.#isReplacing || this.#client === undefined || this.#successor !== undefined) return;
    this.#isReplacing = true;
    const successor = this.#connect();
    try {
      await successor;
      if (this.#isStopped) return this.#drop(successor);
      this.#successor = successor;
      this.#onSignal();
    } catch {
      // The next attempt may succeed.
    } finally {
      this.#isReplacing = false;
    }
  }

  /**
   * Replaces the connection after an answer from another history: that answer or the feed is from an abandoned server.
   */
  #replaceSoon(): void {
    if (!this.#mayReplaceSoon) return;
    this.#mayReplaceSoon = false;
    setTimeout(() => {
      this.#mayReplaceSoon = true;
    }, REPLACE_REST_MS).unref();
    if (this.#client === undefined) this.#onSignal();
    else void this.#replace();
  }

  /** Handles a connection that ended by itself. Signals may be lost from now on, so the feed is told to poll. */
  #lose(listening: Promise<PostgresClient>): void {
    const wasListening = this.#isListening && this.#client === listening;
    this.#drop(listening);
    if (wasListening) this.#onSignal();
  }

  /** Ends this connection, and forgets it unless another one has replaced it. */
  #drop(listening: Promise<PostgresClient>): void {
    if (this.#client === listening) {
      this.#client = undefined;
      this.#isListening = false;
    }
    if (this.#successor === listening) this.#successor = undefined;
    void listening.then(destroy, () => {});
  }
}

/** Connects, and listens if signals arrive. Destroys the connection if either fails. @returns whether signals arrive */
async function connect(client: PostgresClient, signals: Signals): Promise<boolean> {
  try {
    await client.connect();
    const answer = signals.listen(client);
    whenSilent(answer, LISTEN_TIMEOUT_MS, () => destroy(client));
    return await answer;
  } catch (error) {
    destroy(client);
    throw error;
  }
}

/** Closes a connection, and waits at most CLOSE_MS for the server. */
async function retire(client: PostgresClient): Promise<void> {
  await settleWithin(CLOSE_MS, client.end());
  destroy(client);
}

async function endedSessions(
  database: ManagedDatabase,
  withinMs: number,
  limit: number,
  after: CommittedChange | undefined,
): Promise<readonly CommittedChange[]> {
  // The first condition is that of the index, which PostgreSQL can't infer from a comparison of two columns.
  const [behind, parameters] =
    after === undefined
      ? [`ended_at > ${database.now} - ?::float8 * interval '1 millisecond'`, [withinMs]]
      : ["(ended_at, id) > (?::timestamptz, ?)", [new Date(after.changedAtMs).toISOString(), after.subjectId]];
  const rows = await database.read(
    `select id, ${ms("ended_at")} as ended_ms from sessions
     where ended_at is not null and ${behind} order by ended_at, id limit ?::int`,
    [...parameters, limit],
  );
  return rows.map((row) => ({
    kind: "SESSION" as const,
    subjectId: row.id as string,
    changedAtMs: Math.round(row.ended_ms as number),
    position: 0n,
  }));
}

async function prune(database: ManagedDatabase, olderThanMs: number): Promise<boolean> {
  const deleted = await database.write(
    `with old as (
       select ctid, xact_id from changes
       where ${MAY_PRUNE} and changed_at < ${database.now} - ?::float8 * interval '1 millisecond'
       order by changed_at limit ${MAX_DELETED} for update skip locked
     ), moved as (
       update change_horizon set pruned = greatest(pruned, (select xact_id from old order by xact_id desc limit 1))
     )
     delete from changes where ${inPlaces("select ctid from old")}`,
    [olderThanMs],
  );
  return deleted === MAX_DELETED;
}
