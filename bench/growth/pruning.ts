/** How fast retention deletes a backlog, and what calls beside it feel. */
import { setTimeout as pause } from "node:timers/promises";
import { databaseUrl } from "../../src/config/database-url.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { createCommandLog } from "../../src/lib/log.ts";
import { startRetention } from "../../src/lib/retention.ts";
import { Database, type ManagedDatabase } from "../../src/postgres/database.ts";
import { MAX_DELETED } from "../../src/postgres/delete-oldest.ts";
import { PostgresAuditStore } from "../../src/postgres/stores/audit-store.ts";
import { EmbeddedChangeStore } from "../../src/postgres/stores/change-store.ts";
import { PostgresSessionStore } from "../../src/postgres/stores/session-store.ts";
import { itself } from "../../src/shares/holder.ts";
import { quantile } from "../rounds.ts";
import { rpcOf, type Times, timesUntil } from "./calls.ts";
import type { GrownService, KnownKey } from "./service.ts";
import { AUDIT_DAYS } from "./table-rows.ts";

export interface Pruned {
  readonly what: string;
  readonly rows: number;
  /** With the rests between deletions, as the service does it. */
  readonly rowsPerSecond: number;
  /** Times of the deletions of a full portion. */
  readonly p50Ms: number;
  readonly maxMs: number;
}

export interface Pruning {
  readonly tables: readonly Pruned[];
  /** The same calls without pruning, beside it, and without it again: reads, then writes. */
  readonly beside: readonly (readonly [name: string, before: Times, during: Times, after: Times])[];
}

const DAY_MS = 86_400_000;
const READERS = 4;

/** @param seconds maximum time of the pruning of one table, and the time of the calls without it */
export async function measurePruning(
  url: string,
  service: GrownService,
  keys: readonly KnownKey[],
  seconds: number,
): Promise<Pruning> {
  const database = await Database.open({ target: { kind: "postgres", connection: databaseUrl(url), poolSize: 1 } });
  try {
    const managed = database.for({ holder: itself("pruning") });
    await new EmbeddedChangeStore(managed).poll(undefined);
    const quietly = () => timesBeside(service, keys, () => pause(seconds * 1000));
    const before = await quietly();
    const tables: Pruned[] = [];
    const during = await timesBeside(service, keys, async () => {
      for (const [what, prune] of prunesOf(managed)) tables.push(await pruneFor(what, prune, seconds));
    });
    const after = await quietly();
    const names = ["GetKey, 4 at a time", "UpdateKey, one after another"];
    return { tables, beside: names.map((name, at) => [name, before[at]!, during[at]!, after[at]!] as const) };
  } finally {
    await database.close();
  }
}

function prunesOf(database: ManagedDatabase): readonly (readonly [what: string, prune: () => Promise<boolean>])[] {
  const [audit, changes] = [new PostgresAuditStore(database), new EmbeddedChangeStore(database)];
  return [
    ["audit events", () => audit.prune(AUDIT_DAYS * DAY_MS)],
    ["sessions", () => new PostgresSessionStore(database).prune()],
    ["changes", () => changes.prune(DAY_MS)],
  ];
}

/** Prunes one table as retention does, until no full portion is left, or for `seconds`. */
function pruneFor(what: string, prune: () => Promise<boolean>, seconds: number): Promise<Pruned> {
  const { promise, resolve } = Promise.withResolvers<Pruned>();
  const startMs = performance.now();
  const tookMs: number[] = [];
  const timed = async () => {
    const beginMs = performance.now();
    const hasMore = await prune();
    if (hasMore) tookMs.push(performance.now() - beginMs);
    if (hasMore && performance.now() - startMs < seconds * 1000) return true;
    end();
    const rows = tookMs.length * MAX_DELETED;
    const rowsPerSecond = rows / ((performance.now() - startMs) / 1000);
    const [p50Ms, maxMs] = [quantile(tookMs, 0.5), Math.max(...tookMs)];
    resolve({ what, rows, rowsPerSecond, p50Ms, maxMs });
    return false;
  };
  // The first deletion comes at once; the rests are those of the service.
  let isFirst = true;
  const timers = {
    after(ms: number, run: () => void) {
      const timer = setTimeout(run, isFirst ? 0 : ms);
      isFirst = false;
      return () => clearTimeout(timer);
    },
    nextTurn: (run: () => void) => void setImmediate(run),
  };
  const end = startRetention({ expiring: { [what]: timed }, timers, log: createCommandLog() });
  return promise;
}

/** Times of calls that read and of calls that write, while `work` runs. */
async function timesBeside(
  { port, admin }: GrownService,
  keys: readonly KnownKey[],
  work: () => Promise<void>,
): Promise<readonly Times[]> {
  let isOver = false;
  const { getKey, updateKey } = KeyService.method;
  const reads = keys.map(({ id: keyId }) => rpcOf(getKey, admin, { keyId }));
  const writes = keys.map(({ id }, n) =>
    rpcOf(updateKey, admin, { key: { id, name: `renamed ${n}` }, updateMask: { paths: ["name"] } }),
  );
  const times = Promise.all([
    timesUntil(port, reads, READERS, () => isOver),
    timesUntil(port, writes, 1, () => isOver),
  ]);
  await work();
  isOver = true;
  return times;
}
