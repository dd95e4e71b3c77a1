interface Pool {
  on(event: "connect", listener: (client: PoolClient) => void): void;
}

interface PoolClient {
  query: (...args: unknown[]) => unknown;
  connection?: { stream?: { destroy(): void } };
}

/**
 * Destroys a pool's connection when a query on it has had no answer for so long: its server is frozen, or out of reach.
 * Handed on, the next query would wait behind the lost one, and the times would add up.
 *
 * The silence is believed one turn of the event loop later. When this process stalled, the timer is due before the
 * answer that waits in the socket has been read; node-postgres' own `query_timeout` would take each stall for an outage.
 */
export function destroySilent(silenceMs: number): (pool: Pool) => void {
  return (pool) => pool.on("connect", (client) => watch(client, silenceMs));
}

function watch(client: PoolClient, silenceMs: number): void {
  const query = client.query.bind(client);
  client.query = (...args) => {
    const answer = query(...args);
    if (answer instanceof Promise) {
      let isAnswered = false;
      const giveUp = () => {
        if (!isAnswered) client.connection?.stream?.destroy();
      };
      const timer = setTimeout(() => setImmediate(giveUp), silenceMs);
      const settle = () => {
        isAnswered = true;
        clearTimeout(timer);
      };
      answer.then(settle, settle);
    }
    return answer;
  };
}
