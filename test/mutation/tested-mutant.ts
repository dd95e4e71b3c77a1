import type { Mutant } from "../simulation/mutant.ts";

/** A fault of one line, and the tests of which one must find it. */
export interface TestedMutant extends Mutant {
  /** Test files from the root of the project, the quickest first. */
  readonly tests: readonly string[];
}

/** The mutants of one file, which the same tests find. */
export function mutantsOf(
  file: string,
  tests: readonly string[],
  faults: readonly Omit<Mutant, "file">[],
): TestedMutant[] {
  return faults.map((fault) => ({ ...fault, file, tests }));
}
