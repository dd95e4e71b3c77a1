import assert from "node:assert/strict";
import { KNOWN_NETWORK_MS } from "../../auth/key-revocation.ts";
import type { GrantedSession, NewSession, Session, SessionEnd, SessionStanding } from "../../auth/session.ts";
import { MAX_SESSIONS_PER_USER } from "../../auth/session.ts";
import { networkOf } from "../../auth/throttle/login-network.ts";
import { bytesOf, ms, msOf, type Row } from "../database.ts";
import { mustHold, userLock } from "../transactions/locks.ts";
import type { Transaction } from "../transactions/transaction.ts";
import type { RecordsById } from "./grouped-reads.ts";

/** SQL: the maximum life of an access token that the configuration allows. */
const MAX_ACCESS_TOKEN_LIFE = "1 day";

/** SQL: the columns of `toSession` and `toGrantedSession`. */
export const SESSION_COLUMNS = `s.id, s.user_id, s.seed, s.ring_version, s.generation, s.user_agent, s.client_ip,
  ${ms("s.created_at")} as created_ms, ${ms("s.refreshed_at")} as refreshed_ms,
  ${ms("s.idle_expires_at")} as idle_expires_ms`;

export function toSession(row: Row): Session {
  return Object.freeze({
    id: row.id as string,
    userId: row.user_id as string,
    createdAtMs: msOf(row.created_ms) as number,
    refreshedAtMs: msOf(row.refreshed_ms) as number,
    expiresAtMs: msOf(row.idle_expires_ms) as number,
    userAgent: row.user_agent as string,
    clientIp: row.client_ip as string,
  });
}

export function toGrantedSession(row: Row): GrantedSession {
  return Object.freeze({
    ...toSession(row),
    seed: Buffer.from(bytesOf(row.seed)),
    ringVersion: row.ring_version as number,
    generation: row.generation as number,
  });
}

/** The hot read of sessions. */
export const STANDINGS: RecordsById<SessionStanding> = {
  sql: `select s.id, s.user_id, u.state, ${ms("s.idle_expires_at")} as idle_expires_ms, ${ms("s.ended_at")} as ended_ms
    from sessions s join users u on u.id = s.user_id where s.id = any(?::text[])`,
  toRecords: (rows) => new Map(rows.map((row) => [row.id as string, toStanding(row)])),
  maxUnderWay: 1,
};

function toStanding(row: Row): SessionStanding {
  return Object.freeze({
    id: row.id as string,
    userId: row.user_id as string,
    userState: row.state as SessionStanding["userState"],
    expiresAtMs: msOf(row.idle_expires_ms) as number,
    endedAtMs: msOf(row.ended_ms),
  });
}

/**
 * Begins a session if the user is active and has this password version. The statement locks the user's row: a
 * concurrent change of state or password is either seen here, or waits and then sees this session.
 */
export async function beginSession(
  tx: Transaction,
  user: { readonly userId: string; readonly passwordVersion: number },
  session: NewSession,
): Promise<GrantedSession | undefined> {
  mustHold(tx, userLock(user.userId));
  const now = tx.now.toISOString();
  const [row] = await tx.em.execute<Row[]>(
    `insert into sessions as s (id, user_id, seed, ring_version, generation, password_version,
       created_at, refreshed_at, idle_expires_at, expires_at, user_agent, client_ip)
     select p.id, u.id, p.seed, p.ring_version, 1, u.password_version,
       p.now, p.now, p.now + least(p.idle_ms, p.absolute_ms) * interval '1 millisecond',
       p.now + p.absolute_ms * interval '1 millisecond', p.user_agent, p.client_ip
     from users u, (select ? as id, decode(?, 'hex') as seed, ?::int as ring_version, ?::timestamptz as now,
       ?::float8 as idle_ms, ?::float8 as absolute_ms, ? as user_agent, ? as client_ip,
       ? as user_id, ?::int as password_version) p
     where u.id = p.user_id and u.state = 'active' and u.password_version = p.password_version
     for update of u
     returning ${SESSION_COLUMNS}`,
    [
      session.id,
      Buffer.from(session.seed).toString("hex"),
      session.ringVersion,
      now,
      session.idleMs,
      session.absoluteMs,
      session.userAgent,
      session.clientIp,
      user.userId,
      user.passwordVersion,
    ],
  );
  if (row === undefined) return undefined;
  const entry = { actorId: user.userId, clientIp: session.clientIp, subjectId: session.id };
  await tx.record({ ...entry, kind: "session.begun" });
  for (const ended of await endOldest(tx, user.userId)) {
    await tx.record({ ...entry, kind: "session.ended", subjectId: ended, details: { reason: "too_many_sessions" } });
  }
  return toGrantedSession(row);
}

/**
 * Notes, once for each user, that they logged in from a known network: one from which another of their sessions began
 * within KNOWN_NETWORK_MS. The caller holds the user's lock.
 */
export async function noteKnownLogin(tx: Transaction, { id, userId, clientIp }: Session): Promise<void> {
  const since = new Date(tx.now.getTime() - KNOWN_NETWORK_MS).toISOString();
  // The user's id is passed twice. So PostgreSQL looks into known_logins once, and reads no sessions if the user is in
  // it.
  const before = await tx.em.execute<Row[]>(
    `select distinct client_ip from sessions where user_id = ? and id <> ? and created_at > ?::timestamptz
       and not exists (select from known_logins where user_id = ?)`,
    [userId, id, since, userId],
  );
  const network = networkOf(clientIp);
  if (!before.some((session) => networkOf(session.client_ip as string) === network)) return;
  const sql = "insert into known_logins (user_id, known_login_at) values (?, ?::timestamptz)";
  await tx.em.execute(sql, [userId, tx.now.toISOString()]);
}

/** Whether a known login of the user was noted by that time. */
export async function hasKnownLogin(tx: Transaction, userId: string, by: Date): Promise<boolean> {
  const sql = "select 1 from known_logins where user_id = ? and known_login_at <= ?::timestamptz";
  return (await tx.em.execute<Row[]>(sql, [userId, by.toISOString()])).length > 0;
}

/** Begins a session of an active user whom this transaction has locked or inserted, so that it can't be refused. */
export async function beginSessionOf(
  tx: Transaction,
  user: { readonly id: string; readonly passwordVersion: number },
  session: NewSession,
): Promise<GrantedSession> {
  const begun = await beginSession(tx, { userId: user.id, passwordVersion: user.passwordVersion }, session);
  assert(begun !== undefined, "this transaction holds the user's lock");
  return begun;
}

/** Locks a session until this transaction ends. @returns false if the session has ended */
export async function holdSession(tx: Transaction, id: string): Promise<boolean> {
  const rows = await tx.em.execute<Row[]>("select 1 from sessions where id = ? and ended_at is null for share", [id]);
  return rows.length > 0;
}

/**
 * Ends all sessions of a user that may still be used in any way. That includes sessions that expired lately, because
 * one of their access tokens may still be good. Only account-access.ts calls it, and also ends the reset tokens.
 *
 * @returns the number of sessions that it ended
 */
export async function endSessionsOf(tx: Transaction, userId: string, why: SessionEnd): Promise<number> {
  const mayBeUsed = `s.idle_expires_at > p.now - interval '${MAX_ACCESS_TOKEN_LIFE}'`;
  const ended = await end(tx, why, `s.user_id = ? and s.ended_at is null and ${mayBeUsed}`, [userId]);
  // Also reports sessions that another process ended a moment ago.
  tx.unchanged("SESSION", userId);
  return ended.length;
}

/**
 * Ends the live sessions of a user except the newest MAX_SESSIONS_PER_USER. The caller holds the user's lock, so that
 * concurrent logins are counted one after another.
 *
 * @returns the ids
 */
function endOldest(tx: Transaction, userId: string): Promise<readonly string[]> {
  const now = tx.now.toISOString();
  return end(
    tx,
    "too_many_sessions",
    `s.id in (select id from sessions where user_id = ? and ended_at is null and idle_expires_at > ?::timestamptz
       order by created_at desc, id desc offset ${MAX_SESSIONS_PER_USER})`,
    [userId, now],
  );
}

/**
 * Ends the sessions `s` that fulfil the condition. The condition may use `p.now`, but not inside of `in (select ...)`:
 * there PostgreSQL would not replace it by a constant before it plans.
 *
 * @param parameters of the condition
 * @returns the ids
 */
async function end(
  tx: Transaction,
  why: SessionEnd,
  condition: string,
  parameters: readonly unknown[],
): Promise<readonly string[]> {
  const rows = await tx.em.execute<Row[]>(
    `update sessions s set ended_at = p.now, end_reason = p.why from (select ?::timestamptz as now, ? as why) p
     where ${condition} returning s.id`,
    [tx.now.toISOString(), why, ...parameters],
  );
  const ids = rows.map((row) => row.id as string);
  await tx.changed("SESSION", ...ids);
  return ids;
}
