import type { FollowedHistory } from "../history/followed-history.ts";
import type { ProofRow } from "../history/standby-check.ts";

interface Pool {
  readonly ending: boolean;
  connect(): Promise<PoolClient>;
  on(event: "connect" | "acquire" | "remove", listener: (client: PoolClient) => void): void;
  on(event: "release", listener: (error: unknown, client: PoolClient) => void): void;
}

interface PoolClient {
  query: (...args: unknown[]) => unknown;
  /** Returns the connection to the pool; with `true` it is closed instead. */
  release: (destroy?: boolean) => void;
  once(event: "end", listener: () => void): void;
}

/**
 * How long a connection of a pool is kept; its next use after that time closes it. By then a balancer or a changed name
 * may lead to another server. Without this limit, an abandoned server would keep its connections forever.
 */
const MAX_LIFE_MS = 300_000;

/**
 * Closes a connection of a pool when it is released, if it answered from another history than the change feed's or is
 * older than its life.
 *
 * @param spread number of different lives, from `lifeMs` to almost twice that, so that connections that begin together
 *   do not end together
 */
export function closeOutdated(history: FollowedHistory, spread: number, lifeMs = MAX_LIFE_MS) {
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
 * Replaces the connections that the pool closed before a caller needs them. Readers use the other connections
 * meanwhile. If the pool can't connect, it is not tried again here.
 *
 * @param most maximum connections of the pool
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
 * Releases a connection in use as soon as it has ended. Kysely does not release a connection whose BEGIN failed, so
 * each connection that an outage met would keep its place in the pool forever. Once all places were taken, every call
 * of management would fail until the process restarts. If BEGIN was refused and the connection is alive,
 * apply-settings.ts ends it. A later release does nothing.
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

/** The pool sets a new `release` function for each use of a connection, so this one ends with the use. */
function closeAtRelease(client: PoolClient): void {
  const { release } = client;
  client.release = () => release(true);
}
