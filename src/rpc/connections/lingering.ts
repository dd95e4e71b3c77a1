import type { Socket } from "node:net";

/** Time, at most doubled, that a client has to close its side after a draining port has closed its own side. */
const LINGER_MS = 1000;

/**
 * Closes connections whose clients do not close their side, because they would keep the process from stopping.
 *
 * @param sockets all open connections, also as they change
 * @returns the timer to clear when the port is closed
 */
export function endLingering(sockets: ReadonlySet<Socket>): NodeJS.Timeout {
  const ended = new WeakSet<Socket>();
  return setInterval(() => {
    for (const socket of sockets) {
      if (ended.has(socket)) socket.destroy();
      else if (socket.writableFinished) ended.add(socket);
    }
  }, LINGER_MS);
}
