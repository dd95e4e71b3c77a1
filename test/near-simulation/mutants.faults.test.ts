import { describeMutants } from "../simulation/mutant-suite.ts";
import { MUTANTS } from "./mutants.ts";

describeMutants({
  name: "the near simulation",
  run: "test/near-simulation/run.ts",
  parts: ["src", "client/src", "test/simulation", "test/near-simulation"],
  mutants: MUTANTS,
  seeds: 8000,
  // `npm run test:near-simulation` runs more.
  unchangedSeeds: 100,
});
