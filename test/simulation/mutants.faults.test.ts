import { describeMutants } from "./mutant-suite.ts";
import { MUTANTS } from "./mutants.ts";

describeMutants({
  name: "the simulation",
  run: "test/simulation/run.ts",
  parts: ["src", "test/simulation"],
  mutants: MUTANTS,
  // The rarest shows in one of about 700.
  seeds: 5000,
  // `npm run test:simulation` runs more.
  unchangedSeeds: 200,
});
