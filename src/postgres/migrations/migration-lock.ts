/**
 * The lock that lets one process at a time apply migrations or create the first operator.
 *
 * It is an advisory lock of PostgreSQL at transaction level, and the work runs in that same transaction. So the lock
 * ends with the work, with the connection and with the process. A lock at session level would stay behind a pooler that
 * shares connections, and every later start would wait for it. Earlier versions take such a lock under the same key.
 * The two exclude each other, so that a rolling upgrade has one migrator.
 */
import { type Clock, systemClock } from "../../lib/clock.ts";
import type { Log } from "../../lib/log.ts";
import type { Pools } from "../connections/pools.ts";
import { ms, type Row } from "../row.ts";
import { transact } from "../transactions/statements.ts";
import { beginOnPrimary, type Transaction } from "../transactions/transaction.ts";
import type { Ask } from "./schema-state.ts";

/** The key: "latchkey" as the beginning of a bigint, the same in every version. */
const LOCK = "7809632594316157049";

/** SQL: takes the lock for the transaction that it runs in, and waits for it. */
export const TAKE_LOCK = `select pg_advisory_xact_lock(${LOCK})`;

/** SQL: the same, if the lock is free. */
const TRY_LOCK = `select pg_try_advisory_xact_lock(${LOCK}) as is_mine`;

/** Interval at which the holder's backend checks, during a long statement, that its client process still runs. */
const CHECK_CLIENT_MS = 2000;

/** SQL: lets the work of a killed process end within seconds, not only with its current statement. Linux only. */
export function endWithClient(until: "transaction" | "session"): string {
  return `select set_config(name, '${CHECK_CLIENT_MS}', ${until === "transaction"}) from pg_settings
    where name = 'client_connection_check_interval' and version() like '%linux%'`;
}

/** SQL: the holder of the lock. A column is null if this role may not see it of another role's session. */
const LOCK_HOLDER = `select l.pid, a.application_name, host(a.client_addr) as client,
    ${ms("coalesce(a.xact_start, a.state_change, a.backend_start)")} as since_ms
  from pg_locks l left join pg_stat_activity a on a.pid = l.pid
  where l.locktype = 'advisory' and l.granted and l.objsubid = 1
    and l.database = (select oid from pg_database where datname = current_database())
    and ((l.classid::bigint << 32) | l.objid::bigint) = ${LOCK}`;

interface LockWait {
  readonly clock: Clock;
  readonly log: Log | undefined;
  /** How long to try. */
  readonly waitMs: number;
  /** Whether to wait for the holder. */
  isNeeded(): Promise<boolean>;
  /** Runs LOCK_HOLDER. */
  holder(): Promise<readonly Row[]>;
}

const LOCK_WAIT_MS = 60_000;
const TRY_EVERY_MS = 500;
const LOG_EVERY_MS = 5000;

/**
 * One transaction on the primary, while no other process migrates or makes the first operator. PostgreSQL holds the
 * lock for it. The embedded database has one process, so there it takes no lock.
 *
 * @param ask runs a statement outside of the transaction
 * @param isNeeded is asked each time that another process holds the lock; by default, the work is needed
 * @returns undefined if the work was not needed
 * @throws DATABASE_UNAVAILABLE; Error that names the holder of the lock, after 60 s
 */
export async function lockedTransaction<T>(
  pools: Pools,
  ask: Ask,
  work: (tx: Transaction) => Promise<T>,
  isNeeded: () => Promise<boolean>,
): Promise<T | undefined>;
export async function lockedTransaction<T>(pools: Pools, ask: Ask, work: (tx: Transaction) => Promise<T>): Promise<T>;
export async function lockedTransaction<T>(
  pools: Pools,
  ask: Ask,
  work: (tx: Transaction) => Promise<T>,
  isNeeded: () => Promise<boolean> = async () => true,
): Promise<T | undefined> {
  const { log, lockWaitMs: waitMs = LOCK_WAIT_MS, target } = pools.options;
  const beginning = { begin: beginOnPrimary, signal: undefined, holds: () => true };
  if (target.kind === "embedded") return transact(pools, beginning, work);
  const holder = () => ask(LOCK_HOLDER);
  const done = await retryUntilLocked({ clock: systemClock, log, waitMs, isNeeded, holder }, () =>
    transact(pools, beginning, async (tx) => {
      const [lock] = await tx.em.execute<Row[]>(TRY_LOCK);
      if (!lock!.is_mine) return undefined;
      await tx.em.execute(endWithClient("transaction"));
      return { result: await work(tx) };
    }),
  );
  return done?.result;
}

/**
 * Tries again until the lock is free, and logs its holder every 5 s.
 *
 * @param attempt resolves to undefined if another process holds the lock
 * @returns undefined if the attempt is not needed
 * @throws Error that names the holder, after `waitMs`
 */
async function retryUntilLocked<T>(wait: LockWait, attempt: () => Promise<T | undefined>): Promise<T | undefined> {
  const { clock, log, waitMs } = wait;
  const startMs = clock.monotonicMs();
  for (let logged = 0; ; ) {
    const result = await attempt();
    if (result !== undefined) return result;
    if (!(await wait.isNeeded())) return undefined;
    const waitedMs = clock.monotonicMs() - startMs;
    if (waitedMs >= waitMs) throw new Error(await givenUp(wait));
    if (waitedMs >= logged * LOG_EVERY_MS) {
      logged = Math.floor(waitedMs / LOG_EVERY_MS) + 1;
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
