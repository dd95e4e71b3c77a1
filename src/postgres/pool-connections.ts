import type { FollowedHistory, ProofRow } from "./standby-check.ts";

interface Pool {
  readonly ending: boolean;
  connect(): Promise<PoolClient>;
  on(event: "connect" | "acquire" | "remove", listener: (client: PoolClient) => void): void;
  on(event: "release", listener: (error: unknown, client: PoolClient) => void): void;
}

interface PoolClient {
  query: (...args: unknown[]) => unknown;
  /** Gives the connection back to the pool; with `true` it is closed instead. */
  release: (destroy?: boolean) => void;
  once(event: "end", listener: () => void): void;
}

/**
 * How long a connection of a pool is kept. A balancer or a changed name may lead elsewhere by then, and an abandoned
 * server would have its connections for good. The next use after that time closes it.
 */
const LONGEST_LIFE_MS = 300_000;

/**
 * Closes a pool's connection at the end of the use in which it answered from another history than the change feed's, or
 * reached its longest life.
 *
 * @param spread the life of connections that begin together ends at this many times between one life and two
 */
export function closeOutdated(history: FollowedHistory, spread: number, lifeMs = LONGEST_LIFE_MS) {
  let connections = 0;
  return (pool: Pool) =>
    pool.on("connect", (client) => {
      const part = connections++ % spread;
      let isOutdated = false;
      const life = setTimeout(
        () => {
          isOutdated = true;
        },
        lifeMs * (1 + part / spread),
      );
      life.unref();
      client.once("end", () => clearTimeout(life));
      const query = client.query.bind(client);
      client.query = (...args) => {
        const answer = query(...args);
        if (!(answer instanceof Promise)) return answer;
        return answer.then((result: { readonly rows?: readonly ProofRow[] }) => {
          const row = result.rows?.[0];
          isOutdated ||= row !== undefined && "incarnation" in row && history.isOther(row);
          if (isOutdated) closeAtRelease(client);
          return result;
        });
      };
    });
}

/**
 * Opens a connection for each that the pool closed, before it is asked for: who reads meanwhile takes one of the others.
 * A pool that can't connect is left alone.
 *
 * @param most connections of the pool
 */
export function refill(most: number) {
  let isRefilling = false;
  return (pool: Pool) =>
    pool.on("remove", () => {
      if (pool.ending || isRefilling) return;
      isRefilling = true;
      const connecting = Array.from({ length: most }, () => pool.connect().then((client) => client.release()));
      void Promise.allSettled(connecting).then(() => {
        isRefilling = false;
      });
    });
}

/**
 * Gives a connection back to the pool as soon as it has ended, when it is in use. Kysely gives none back whose BEGIN
 * failed, so each that an outage of the server met would take a place of the pool for good: after as many as the pool has
 * places, no call of management came through until the process was restarted. Where the BEGIN was refused and the connection
 * lives, settled-statements.ts ends it. A release that comes later does nothing.
 */
export function releaseEnded(pool: Pool): void {
  const held = new Set<PoolClient>();
  pool.on("acquire", (client) => held.add(client));
  pool.on("release", (_error, client) => held.delete(client));
  pool.on("connect", (client) =>
    client.once("end", () => {
      if (!held.has(client)) return;
      client.release(true);
      client.release = () => {};
    }),
  );
}

/** `release` is another function for each use of the connection. */
function closeAtRelease(client: PoolClient): void {
  const { release } = client;
  client.release = () => release(true);
}
