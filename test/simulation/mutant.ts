/** A fault that a developer could make in one line, and that a simulation must find. */
export interface Mutant {
  readonly name: string;
  /** From the root of the project. */
  readonly file: string;
  /** Occurs once in the file. */
  readonly search: string;
  readonly replacement: string;
  /** A seed that found it lately: it is tried before the search, which takes minutes for a rare fault. */
  readonly seed?: number;
  /** The consequence of the fault. */
  readonly why: string;
}
