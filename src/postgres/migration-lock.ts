/**
 * The lock under which one process at a time applies migrations or makes the first operator.
 *
 * It is PostgreSQL's advisory lock at the level of a transaction, and the work is done in that same transaction. So it
 * ends with the work, with the connection and with the process. Behind a pooler that shares connections nothing stays:
 * a lock at the level of the session did, and every later start waited for it. Earlier versions take that one, under the
 * same key: the two exclude each other, so that a rolling upgrade has one migrator.
 */
import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import { ms, type Row } from "./row.ts";

/** "latchkey" as the beginning of a bigint, as every version has it. */
const LOCK = "7809632594316157049";

/** Takes the lock for the transaction that it runs in, if it is free. */
export const TRY_LOCK = `select pg_try_advisory_xact_lock(${LOCK}) as is_mine`;

/** So often the backend of a holder that runs a long statement looks whether its process is still there. */
const LOOK_FOR_CLIENT_MS = 2000;

/** Lets the lock of a process that was killed end within seconds, and not with the statement that it was at. Linux only. */
export const END_WITH_CLIENT = `select set_config(name, '${LOOK_FOR_CLIENT_MS}', true) from pg_settings
  where name = 'client_connection_check_interval' and version() like '%linux%'`;

/** Who holds the lock. What a role may not see of other roles' sessions is null. */
export const HOLDER = `select l.pid, a.application_name, host(a.client_addr) as client,
    ${ms("coalesce(a.xact_start, a.state_change, a.backend_start)")} as since_ms
  from pg_locks l left join pg_stat_activity a on a.pid = l.pid
  where l.locktype = 'advisory' and l.granted and l.objsubid = 1
    and l.database = (select oid from pg_database where datname = current_database())
    and ((l.classid::bigint << 32) | l.objid::bigint) = ${LOCK}`;

export interface LockWait {
  readonly clock: Clock;
  readonly log: Log | undefined;
  /** How long the lock is waited for. */
  readonly waitMs: number;
  /** Runs HOLDER. */
  holder(): Promise<readonly Row[]>;
}

export const LOCK_WAIT_MS = 60_000;
const TRY_EVERY_MS = 500;
const TELL_EVERY_MS = 5000;

/**
 * Tries until the lock was free, and tells every 5 s who holds it.
 *
 * @param attempt resolves to undefined where another process holds the lock
 * @throws Error that says who holds it, after `waitMs`
 */
export async function untilMine<T>(wait: LockWait, attempt: () => Promise<T | undefined>): Promise<T> {
  const { clock, log, waitMs } = wait;
  const startMs = clock.monotonicMs();
  for (let told = 0; ; ) {
    const result = await attempt();
    if (result !== undefined) return result;
    const waitedMs = clock.monotonicMs() - startMs;
    if (waitedMs >= waitMs) throw new Error(await givenUp(wait));
    if (waitedMs >= told * TELL_EVERY_MS) {
      told = Math.floor(waitedMs / TELL_EVERY_MS) + 1;
      const fields = {
        ...holderFields(await wait.holder()),
        give_up_in_seconds: Math.ceil((waitMs - waitedMs) / 1000),
      };
      log?.warn("another process holds the lock of migrations; trying again", fields);
    }
    await new Promise((resolve) => setTimeout(resolve, TRY_EVERY_MS));
  }
}

async function givenUp({ waitMs, holder }: LockWait): Promise<string> {
  const { holder_pid, ...facts } = holderFields(await holder());
  const who = Object.entries({ pid: holder_pid, ...facts }).flatMap(([name, value]) =>
    value ? [`${name} ${value}`] : [],
  );
  const end =
    holder_pid === undefined ? "" : `; if it hangs, run in this database: select pg_terminate_backend(${holder_pid})`;
  return `another process held the lock of migrations for ${waitMs / 1000} s (${who.join(", ") || "it is not visible"})${end}`;
}

function holderFields([row]: readonly Row[]) {
  const { pid, application_name, client, since_ms } = row ?? {};
  return {
    holder_pid: pid as number | undefined,
    application: (application_name || undefined) as string | undefined,
    client: (client ?? undefined) as string | undefined,
    since: typeof since_ms === "number" ? new Date(since_ms).toISOString() : undefined,
  };
}
