/** `npm run test:near-simulation -- --seeds 10000 [--from 1] [--stop]`: see test/simulation/run-seeds.ts. */
import { runSeeds } from "../simulation/run-seeds.ts";
import { simulateNear } from "./simulate.ts";

await runSeeds(import.meta.url, simulateNear);
