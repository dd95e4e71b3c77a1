/**
 * The neighbour: other clients on the same PostgreSQL. They write with `synchronous_commit = off` and use up
 * transaction ids. Many of these ids are not on disk when the server crashes, so it assigns them again.
 */
import { setTimeout as pause } from "node:timers/promises";
import pg from "pg";

export interface Neighbour {
  /** Number of committed transactions. */
  commits(): number;
  stop(): Promise<void>;
}

const WRITERS = 2;
const REST_MS = 20;
/** Each block is a subtransaction with an id of its own. */
const WRITE = `do $$ begin
  for n in 1..20 loop
    begin insert into notes values (now()); exception when others then raise; end;
  end loop;
end $$`;

export function startNeighbour(url: string): Neighbour {
  let commits = 0;
  const stopped = new AbortController();
  const writers = Array.from({ length: WRITERS }, () =>
    write(url, stopped.signal, () => {
      commits++;
    }),
  );
  return {
    commits: () => commits,
    stop: async () => {
      stopped.abort();
      await Promise.all(writers);
    },
  };
}

async function write(url: string, stopped: AbortSignal, onCommit: () => void): Promise<void> {
  while (!stopped.aborted) {
    const client = new pg.Client({ connectionString: url, application_name: "neighbour", query_timeout: 5000 });
    client.on("error", () => {});
    try {
      await client.connect();
      await client.query("set synchronous_commit = off; create table if not exists notes (at timestamptz)");
      while (!stopped.aborted) {
        await client.query(WRITE);
        onCommit();
        await pause(REST_MS);
      }
    } catch {
      await pause(50);
    } finally {
      client.end().catch(() => {});
    }
  }
}
