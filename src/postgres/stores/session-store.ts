import { actedBy } from "../../audit/actor.ts";
import type { GrantedSession, RefreshSecret, Session, SessionStanding, ShownSession } from "../../auth/session.ts";
import type { RefreshOutcome, SessionStore } from "../../auth/session-store.ts";
import { DAY_MS } from "../../lib/clock.ts";
import { bytesOf, type ManagedDatabase, ms, type Row } from "../database.ts";
import { deleteOldest } from "../delete-oldest.ts";
import { changeAccess, lockUser, tokenDetails } from "../rows/account-access.ts";
import { GroupedReads } from "../rows/grouped-reads.ts";
import {
  beginSession,
  noteKnownLogin,
  SESSION_COLUMNS,
  STANDINGS,
  toGrantedSession,
  toSession,
} from "../rows/session-rows.ts";
import { sessionLock, userLock } from "../transactions/locks.ts";

type AdvanceInput = Parameters<SessionStore["advance"]>[0];
type ListInput = Parameters<SessionStore["listLive"]>[0];

/** How long a session is kept after its absolute end. By then none of its tokens has been good for days. */
const KEPT_AFTER_END_MS = 7 * DAY_MS;

export class PostgresSessionStore implements SessionStore {
  readonly #database: ManagedDatabase;
  readonly #standings: GroupedReads<SessionStanding>;

  constructor(database: ManagedDatabase) {
    this.#database = database;
    this.#standings = new GroupedReads(database, STANDINGS);
  }

  begin(input: Parameters<SessionStore["begin"]>[0]): Promise<GrantedSession | undefined> {
    return this.#database.transact([userLock(input.userId)], async (tx) => {
      const begun = await beginSession(tx, input, input.session);
      if (begun !== undefined) await noteKnownLogin(tx, begun);
      return begun;
    });
  }

  async standing(id: string): ReturnType<SessionStore["standing"]> {
    const { records, databaseMs } = await this.#standings.read([id]);
    return { standing: records[0], databaseMs };
  }

  async refreshSecret(id: string): Promise<RefreshSecret | undefined> {
    const [row] = await this.#database.read("select seed, ring_version from sessions where id = ?", [id]);
    if (row === undefined) return undefined;
    return Object.freeze({ seed: Buffer.from(bytesOf(row.seed)), ringVersion: row.ring_version as number });
  }

  async shown(id: string): Promise<ShownSession | undefined> {
    const [row] = await this.#database.read(
      `select user_id, password_version, seed, ring_version from sessions
       where id = ? and (end_reason is null or end_reason = 'too_many_sessions')`,
      [id],
    );
    if (row === undefined) return undefined;
    return Object.freeze({
      userId: row.user_id as string,
      passwordVersion: row.password_version as number,
      seed: Buffer.from(bytesOf(row.seed)),
      ringVersion: row.ring_version as number,
    });
  }

  async advance(input: AdvanceInput): Promise<RefreshOutcome> {
    const { id, generation } = input;
    return this.#database.transact([sessionLock(id)], async (tx) => {
      const [row] = await tx.em.execute<Row[]>(advanceSql(this.#database.now, input), [id, generation]);
      if (row !== undefined && row.ended_ms === null) return { kind: "granted", session: toGrantedSession(row) };
      if (row !== undefined) {
        await tx.changed("SESSION", id);
        const userId = row.user_id as string;
        const entry = { actorId: "", clientIp: input.clientIp, subjectId: id, details: { user_id: userId } };
        await tx.record({ ...entry, kind: "session.token_reused" });
        return { kind: "reused", userId };
      }
      const sql = "select user_id, generation < ?::int and ended_at is null as is_behind from sessions where id = ?";
      const [found] = await tx.em.execute<Row[]>(sql, [generation, id]);
      const userId = found?.user_id as string | undefined;
      return userId !== undefined && found?.is_behind ? { kind: "ahead", userId } : { kind: "not_live", userId };
    });
  }

  async end({ id, userId, why, by }: Parameters<SessionStore["end"]>[0]): ReturnType<SessionStore["end"]> {
    return this.#database.transact([sessionLock(id)], async (tx) => {
      const ofUser = userId === undefined ? "" : "and user_id = ?";
      const who = userId === undefined ? [id] : [id, userId];
      const ended = await tx.em.execute<Row[]>(
        `update sessions set ended_at = ?::timestamptz, end_reason = ?
         where id = ? ${ofUser} and ended_at is null returning user_id`,
        [tx.now.toISOString(), why, ...who],
      );
      const [row] = ended;
      if (row !== undefined) {
        await tx.changed("SESSION", id);
        const actorId = by.id || (row.user_id as string);
        await tx.record({
          kind: "session.ended",
          actorId,
          clientIp: by.clientIp,
          subjectId: id,
          details: { reason: why },
        });
        return "ended";
      }
      const [known] = await tx.em.execute<Row[]>("select user_id from sessions where id = ?", [id]);
      if (known === undefined) return "unknown";
      if (userId !== undefined && known.user_id !== userId) return "anothers";
      tx.unchanged("SESSION", id);
      return "ended";
    });
  }

  async endAllOf({ userId, why, by }: Parameters<SessionStore["endAllOf"]>[0]): Promise<boolean> {
    return this.#database.transact([userLock(userId)], async (tx) => {
      const user = await lockUser(tx, userId);
      if (user === null) return false;
      const ended = await changeAccess(tx, user, {}, why);
      if (ended.sessions + ended.resetTokens === 0) return true;
      const details = { reason: why, sessions: String(ended.sessions), ...tokenDetails(ended) };
      await tx.record({ ...actedBy(by), kind: "session.ended", subjectId: userId, details });
      return true;
    });
  }

  prune(): Promise<boolean> {
    return deleteOldest(this.#database, "sessions", KEPT_AFTER_END_MS);
  }

  async listLive(input: ListInput): Promise<readonly Session[]> {
    const { userId, after, limit } = input;
    const behind = after === undefined ? "" : "and (s.created_at, s.id) < (?::timestamptz, ?)";
    const cursor = after === undefined ? [] : [new Date(after.createdAtMs).toISOString(), after.id];
    const rows = await this.#database.read(
      `select ${SESSION_COLUMNS} from sessions s
       where s.user_id = ? and s.ended_at is null and s.idle_expires_at > ${this.#database.now} ${behind}
       order by s.created_at desc, s.id desc limit ?::int`,
      [userId, ...cursor, limit],
    );
    return rows.map(toSession);
  }
}

/**
 * SQL: one UPDATE decides what a genuine token gets. Of concurrent callers, each waits for the row lock and is then
 * judged by the row as the other left it. A replay within the grace writes the row unchanged, because the write gives
 * it a place in that order. Parameters: id, generation.
 */
function advanceSql(now: string, { idleMs, graceMs }: AdvanceInput): string {
  const span = (milliseconds: number) => `interval '${Math.trunc(milliseconds)} milliseconds'`;
  const newest = "s.generation = p.generation";
  const replay = `(s.generation = p.generation + 1 and ${now} <= s.refreshed_at + ${span(graceMs)})`;
  const reused = `s.generation > p.generation and not ${replay}`;
  return `update sessions s set
      generation = case when ${newest} then s.generation + 1 else s.generation end,
      refreshed_at = case when ${newest} then ${now} else s.refreshed_at end,
      idle_expires_at = case when ${newest} then least(${now} + ${span(idleMs)}, s.expires_at) else s.idle_expires_at end,
      ended_at = case when ${reused} then ${now} end,
      end_reason = case when ${reused} then 'refresh_token_reused' end
    from (select ? as id, ?::int as generation) p
    where s.id = p.id and s.generation >= p.generation and s.ended_at is null and s.idle_expires_at > ${now}
      and exists (select 1 from users u where u.id = s.user_id and u.state = 'active')
    returning ${SESSION_COLUMNS}, ${ms("s.ended_at")} as ended_ms`;
}
