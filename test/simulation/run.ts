/** `npm run test:simulation -- --seeds 10000 [--from 1] [--stop]`: see run-seeds.ts. */
import { runSeeds } from "./run-seeds.ts";
import { simulate } from "./simulate.ts";

await runSeeds(import.meta.url, simulate);
