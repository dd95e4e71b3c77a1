/** Asks the probe in a service (turn-probe.ts) for the longest turn of its event loop. */
import { once } from "node:events";
import { connect } from "node:net";
import { join } from "node:path";

/** The flags of Node that load the probe. */
export const TURN_PROBE: readonly string[] = ["--import", join(import.meta.dirname, "turn-probe.ts")];

/**
 * The longest turn since the last call of this function, in ms of CPU time of the service's main thread.
 *
 * @param order what the service does in one turn after that: `burn 60` computes for 60 ms, `sleep 60` only waits
 */
export async function longestTurnMs(pid: number, order = "none"): Promise<number> {
  const socket = connect(`\0latchkey-turns-${pid}`);
  socket.write(order);
  const [us] = await once(socket, "data");
  socket.destroy();
  return Number(us) / 1000;
}
