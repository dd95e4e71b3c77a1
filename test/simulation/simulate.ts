import { simulateLimits } from "./limits-simulation.ts";
import { simulateRecords } from "./records-simulation.ts";

/**
 * THE SIMULATION. The shipped modules run, only clock, database and network are replaced; a seed is a run.
 *
 *   virtual-time.ts, machine.ts, random.ts   time, processes that stall, chance
 *   postgres-model.ts, cluster.ts            the database: snapshots and the log of changes; transactions, failovers
 *   database-link.ts, weather.ts             the network; what goes wrong
 *   truth.ts, verdict-rules.ts               what was true when; what an answer may be
 *   service-process.ts, watching-client.ts   who is simulated: a process of the service, a client of its stream
 *   records-simulation.ts                    all of them in one run
 *   limit-link.ts, admission-rules.ts        the store of limits and its network; what may be admitted
 *   limits-simulation.ts                     limiters of several processes in one run
 *   run.ts                                   many seeds on all cores: `npm run test:simulation`
 *   mutants.ts                               faults that must be found, else the simulation is worth nothing
 *
 * @returns what was wrong first, without the seed; undefined if nothing was
 */
export async function simulate(seed: number): Promise<string | undefined> {
  return (await simulateRecords(seed)) ?? (await simulateLimits(seed));
}
