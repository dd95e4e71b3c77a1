/** Faults of PostgreSQL itself, and of other clients in it. */
import pg from "pg";
import { until } from "../support/until.ts";
import { type FaultKind, type Heal, nothing } from "./fault.ts";
import { DATABASE, ROLE, type World } from "./world.ts";

const OURS = `usename = '${ROLE}' and backend_type = 'client backend'`;

export const POSTGRES_FAULTS: readonly FaultKind[] = [
  {
    name: "postgres backend killed",
    holds: "postgres",
    isBrief: true,
    stopsPostgres: true,
    async begin(world) {
      const [victim] = await world.query(`select pid from pg_stat_activity where ${OURS} order by random() limit 1`);
      // When a backend is killed, the server ends all backends and recovers from its log.
      if (victim !== undefined) killQuietly(victim.pid as number);
      return () => answers(world);
    },
  },
  {
    name: "postgres crashes while a link hangs",
    holds: "postgres",
    stopsPostgres: true,
    async begin(world, { node }) {
      // This process polls only after other clients have written under ids that it counts as seen.
      const link = world.nodes[node]!.postgres;
      link.hang();
      const [victim] = await world.query(
        "select pid from pg_stat_activity where application_name = 'neighbour' limit 1",
      );
      if (victim !== undefined) killQuietly(victim.pid as number);
      await answers(world);
      return () => link.restore();
    },
  },
  {
    name: "neighbour's backend killed",
    holds: "postgres",
    isBrief: true,
    stopsPostgres: true,
    async begin(world) {
      const [victim] = await world.query(
        "select pid from pg_stat_activity where application_name = 'neighbour' limit 1",
      );
      if (victim !== undefined) killQuietly(victim.pid as number);
      return () => answers(world);
    },
  },
  {
    name: "postgres stopped immediately and started",
    holds: "postgres",
    isBrief: true,
    stopsPostgres: true,
    async begin({ postgres }) {
      process.kill(postgres.pid, "SIGQUIT");
      return () => postgres.restart();
    },
  },
  {
    name: "postgres killed and started",
    holds: "postgres",
    isBrief: true,
    stopsPostgres: true,
    async begin({ postgres }) {
      await postgres.kill();
      return () => postgres.restart();
    },
  },
  {
    name: "postgres restarted",
    holds: "postgres",
    isBrief: true,
    stopsPostgres: true,
    async begin({ postgres }) {
      await postgres.restart();
      return nothing;
    },
  },
  {
    name: "postgres frozen",
    holds: "postgres",
    stopsPostgres: true,
    async begin({ postgres }) {
      await postgres.freeze();
      return async () => postgres.resume();
    },
  },
  {
    name: "all our backends terminated",
    holds: "postgres",
    isBrief: true,
    async begin({ query }) {
      await query(`select pg_terminate_backend(pid) from pg_stat_activity where ${OURS}`);
      return nothing;
    },
  },
  {
    name: "feeds' backends terminated again and again",
    holds: "postgres",
    async begin({ query }) {
      let isOver = false;
      const cutting = (async () => {
        while (!isOver) {
          await query(`select pg_terminate_backend(pid) from pg_stat_activity
            where ${OURS} and application_name = 'latchkey-changes'`);
        }
      })();
      return async () => {
        isOver = true;
        await cutting;
      };
    },
  },
  {
    name: "a long write transaction",
    holds: "postgres",
    begin: (world) => holdTransaction(world, "create table if not exists nemesis.held (at timestamptz)"),
  },
  {
    name: "rows of keys locked",
    holds: "postgres",
    begin: (world) =>
      holdTransaction(world, "select from public.api_keys where kind = 'api' order by random() limit 8 for update"),
  },
  {
    name: "rows of users locked",
    holds: "postgres",
    begin: (world) => holdTransaction(world, "select from public.users for update"),
  },
  {
    name: "table of keys locked",
    holds: "postgres",
    begin: (world) => holdTransaction(world, "lock table public.api_keys in access exclusive mode"),
  },
  {
    name: "log of changes locked for writers",
    holds: "postgres",
    begin: (world) => holdTransaction(world, "lock table public.changes in share mode"),
  },
  {
    name: "polls locked out",
    holds: "postgres",
    begin: (world) => holdTransaction(world, "lock table public.change_horizon in access exclusive mode"),
  },
  {
    name: "no connection left for us",
    holds: "postgres",
    async begin({ query, nodes }, { amount }) {
      await query(`alter role ${ROLE} connection limit ${Math.floor(amount * 4)}`);
      for (const node of nodes) node.postgres.reset();
      return () => query(`alter role ${ROLE} connection limit -1`);
    },
  },
  {
    name: "transactions are read-only",
    holds: "postgres",
    async begin({ query }) {
      const reconnect = () => query(`select pg_terminate_backend(pid) from pg_stat_activity where ${OURS}`);
      await query(`alter database ${DATABASE} set default_transaction_read_only = on`);
      await reconnect();
      return async () => {
        // The default also applies to this connection, so it must override it.
        await query(`begin read write; alter database ${DATABASE} reset default_transaction_read_only; commit`);
        await reconnect();
      };
    },
  },
  {
    name: "disk full",
    holds: "postgres",
    async begin({ query }) {
      await query("update nemesis.switches set is_disk_full = true");
      return () => query("update nemesis.switches set is_disk_full = false");
    },
  },
];

/** Kills a process. It ignores one that has already ended. */
function killQuietly(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

function answers({ postgres }: World): Promise<void> {
  return until(
    () =>
      postgres.sql("select 1").then(
        () => true,
        () => false,
      ),
    "PostgreSQL answers again",
  );
}

/** Opens a transaction of another client, which stays open. It waits at most a second for locks of others. */
async function holdTransaction(world: World, statement: string): Promise<Heal> {
  const client = new pg.Client({ connectionString: world.postgres.url(DATABASE), application_name: "nemesis" });
  client.on("error", () => {});
  await client.connect();
  await client.query("set lock_timeout = '1s'; set deadlock_timeout = '100ms'; begin");
  await client.query(
    "insert into nemesis.ledger (relation, subject, is_deletion, facts) values ('held', '', false, '{}')",
  );
  // If it does not get the lock, the open transaction alone is the fault.
  await client.query(statement).catch(() => {});
  return async () => {
    await client.query("rollback").catch(() => {});
    await client.end().catch(() => {});
  };
}
