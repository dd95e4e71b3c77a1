import assert from "node:assert/strict";
import { KNOWN_NETWORK_MS } from "../auth/key-revocation.ts";
import type { GrantedSession, NewSession, Session, SessionEnd, SessionStanding } from "../auth/session.ts";
import { MAX_SESSIONS_PER_USER } from "../auth/session.ts";
import { networkOf } from "../auth/throttle/login-network.ts";
import { bytesOf, ms, msOf, type Row } from "./database.ts";
import type { RecordsById } from "./grouped-reads.ts";
import { mustHold, userLock } from "./locks.ts";
import type { Transaction } from "./transaction.ts";

/** As the configuration bounds it. */
const LONGEST_ACCESS_TOKEN = "1 day";

/** Columns of a session as its records need them. */
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

/** The hot read. */
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
 * Begins a session, if the user is as required. The statement locks the user's row: a change of state or password that
 * runs at the same time is either seen here, or waits and then sees this session.
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
     select ?, u.id, decode(?, 'hex'), ?::int, 1, u.password_version,
       ?::timestamptz, ?::timestamptz,
       ?::timestamptz + least(?::float8, ?::float8) * interval '1 millisecond',
       ?::timestamptz + ?::float8 * interval '1 millisecond', ?, ?
     from users u where u.id = ? and u.state = 'active' and u.password_version = ?::int
     for update of u
     returning ${SESSION_COLUMNS}`,
    [
      session.id,
      Buffer.from(session.seed).toString("hex"),
      session.ringVersion,
      ...[now, now, now, session.idleMs, session.absoluteMs, now, session.absoluteMs],
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
 * Notes that a user logged in from a network that they were known from, if that was not noted before: one from which
 * another session of theirs began lately. The caller holds the user's lock.
 */
export async function noteKnownLogin(tx: Transaction, { id, userId, clientIp }: Session): Promise<void> {
  const since = new Date(tx.now.getTime() - KNOWN_NETWORK_MS).toISOString();
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

/** Whether such a login was noted by then. */
export async function hasKnownLogin(tx: Transaction, userId: string, by: Date): Promise<boolean> {
  const sql = "select 1 from known_logins where user_id = ? and known_login_at <= ?::timestamptz";
  return (await tx.em.execute<Row[]>(sql, [userId, by.toISOString()])).length > 0;
}

/** As `beginSession`, of an active user whom this transaction has locked or inserted, so that it can't be refused. */
export async function beginSessionOf(
  tx: Transaction,
  user: { readonly id: string; readonly passwordVersion: number },
  session: NewSession,
): Promise<GrantedSession> {
  const begun = await beginSession(tx, { userId: user.id, passwordVersion: user.passwordVersion }, session);
  assert(begun !== undefined, "this transaction holds the user's lock");
  return begun;
}

/** Whether a session has not ended. If so it can't end until this transaction is over. */
export async function holdSession(tx: Transaction, id: string): Promise<boolean> {
  const rows = await tx.em.execute<Row[]>("select 1 from sessions where id = ? and ended_at is null for share", [id]);
  return rows.length > 0;
}

/**
 * Ends all sessions of a user that may still be used in any way: those that lapsed lately too, since an access token of
 * theirs may be good still. Only account-door.ts calls it, and ends reset tokens too. @returns how many
 */
export async function endSessionsOf(tx: Transaction, userId: string, why: SessionEnd): Promise<number> {
  const mayBeUsed = `idle_expires_at > ?::timestamptz - interval '${LONGEST_ACCESS_TOKEN}'`;
  const condition = `user_id = ? and ended_at is null and ${mayBeUsed}`;
  const ended = await end(tx, why, condition, [userId, tx.now.toISOString()]);
  // Those that another process ended a moment ago as well.
  tx.unchanged("SESSION", userId);
  return ended.length;
}

/**
 * Ends what is live beyond the newest 50. The caller holds the user's lock, so that logins count one after another.
 * @returns ids
 */
function endOldest(tx: Transaction, userId: string): Promise<readonly string[]> {
  const now = tx.now.toISOString();
  return end(
    tx,
    "too_many_sessions",
    `id in (select id from sessions where user_id = ? and ended_at is null and idle_expires_at > ?::timestamptz
       order by created_at desc, id desc offset ${MAX_SESSIONS_PER_USER})`,
    [userId, now],
  );
}

async function end(
  tx: Transaction,
  why: SessionEnd,
  condition: string,
  parameters: readonly unknown[],
): Promise<readonly string[]> {
  const rows = await tx.em.execute<Row[]>(
    `update sessions set ended_at = ?::timestamptz, end_reason = ? where ${condition} returning id`,
    [tx.now.toISOString(), why, ...parameters],
  );
  const ids = rows.map((row) => row.id as string);
  await tx.changed("SESSION", ...ids);
  return ids;
}
