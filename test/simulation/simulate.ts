import { simulateLimits } from "./limits-simulation.ts";
import { simulateRecords } from "./records-simulation.ts";

/**
 * THE SIMULATION. It runs the shipped modules, and replaces only the clock, the database and the network. Each seed is
 * one run.
 *
 *   virtual-time.ts, machine.ts, random.ts   time, machines that stall, chance
 *   postgres-model.ts, cluster.ts            the database: snapshots and the log of changes; transactions, failovers
 *   database-link.ts, weather.ts             the network to the database; the faults of a run
 *   truth.ts, verdict-rules.ts               what was true when; which answers are allowed
 *   position-rules.ts                        what the positions of snapshots promise
 *   simulated-service.ts, watching-client.ts   a process of the service; a client of its stream
 *   sample-keys.ts                           the keys that all runs use
 *   records-simulation.ts                    all of them in one run
 *   limit-link.ts, admission-rules.ts        the store of limits and its network; what may be admitted
 *   limits-simulation.ts                     the limiters of several processes in one run
 *   run.ts                                   many seeds on all cores: `npm run test:simulation`
 *   mutants.ts                               faults that the simulation must find
 *
 * @returns the first fault, without the seed; undefined if there was none
 */
export async function simulate(seed: number): Promise<string | undefined> {
  return (await simulateRecords(seed)) ?? (await simulateLimits(seed));
}
