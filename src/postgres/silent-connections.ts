interface Pool {
  on(event: "connect", listener: (client: PoolClient) => void): void;
}

interface PoolClient {
  query: (...args: unknown[]) => unknown;
  connection?: { stream?: { destroy(): void } };
}

/**
 * Destroys a pool's connection when a query on it has had no answer for so long: its server is frozen, or out of reach.
 * Handed on, the next query would wait behind the lost one, and the times would add up. node-postgres' own
 * `query_timeout` keeps the connection, and takes each stall of this process for an outage.
 */
export function destroySilent(silenceMs: number): (pool: Pool) => void {
  return (pool) => pool.on("connect", (client) => watch(client, silenceMs));
}

/**
 * Calls `onSilent` if there is no answer for so long.
 *
 * The silence is believed one turn of the event loop later: when this process stalled, the timer is due before the answer
 * that waits in the socket has been read.
 */
export function whenSilent(answer: Promise<unknown>, silenceMs: number, onSilent: () => void): void {
  let isAnswered = false;
  const giveUp = () => {
    if (!isAnswered) onSilent();
  };
  const timer = setTimeout(() => setImmediate(giveUp), silenceMs);
  const settle = () => {
    isAnswered = true;
    clearTimeout(timer);
  };
  answer.then(settle, settle);
}

function watch(client: PoolClient, silenceMs: number): void {
  const query = client.query.bind(client);
  client.query = (...args) => {
    const answer = query(...args);
    if (answer instanceof Promise) whenSilent(answer, silenceMs, () => client.connection?.stream?.destroy());
    return answer;
  };
}
