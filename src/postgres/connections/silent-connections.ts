import { whenSilent } from "../../lib/when-silent.ts";

interface Pool {
  on(event: "connect", listener: (client: PoolClient) => void): void;
}

interface PoolClient {
  query: (...args: unknown[]) => unknown;
  connection?: { stream?: { destroy(): void } };
}

/**
 * Destroys a connection of a pool when a query on it has no answer after `silenceMs`: the server is frozen or
 * unreachable. If the connection stayed in the pool, the next query would wait behind the lost one, and the times would
 * add up. The option `query_timeout` of node-postgres keeps the connection, and takes each stall of this process for an
 * outage.
 */
export function destroySilent(silenceMs: number): (pool: Pool) => void {
  return (pool) => pool.on("connect", (client) => watchQueries(client, silenceMs));
}

function watchQueries(client: PoolClient, silenceMs: number): void {
  const query = client.query.bind(client);
  client.query = (...args) => {
    const answer = query(...args);
    if (answer instanceof Promise) whenSilent(answer, silenceMs, () => client.connection?.stream?.destroy());
    return answer;
  };
}
