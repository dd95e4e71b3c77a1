import type { Flags, Values } from "./flags.ts";
import type { Invocation } from "./invocation.ts";
import type { Result } from "./result.ts";

/** A positional argument: an id, never a secret. */
export interface Argument {
  /** As help shows it, such as "KEY_ID". */
  readonly name: string;
  readonly about: string;
  readonly isOptional?: boolean;
  /** The values that completion offers. */
  readonly choices?: readonly string[];
}

/** The input of `run`: the arguments in the order of their definition, and the flags by their names. */
export interface Input<F extends Flags> {
  readonly args: readonly string[];
  readonly flags: Values<F>;
}

/** A verb: the one definition from which its parsing, help, completion and tests come. */
export interface Verb<F extends Flags = Flags> {
  readonly name: string;
  /** One sentence, without a full stop. */
  readonly about: string;
  /** Further sentences for its help, each with a full stop. */
  readonly more?: string;
  /** Command lines without `latchkey`. Help shows all, at least one. */
  readonly examples: readonly string[];
  readonly args?: readonly Argument[];
  readonly flags: F;
  /** For a destructive verb: what it is about to do, as a question; undefined where this input destroys nothing. */
  readonly question?: (input: Input<F>) => string | undefined;
  readonly run: (invocation: Invocation, input: Input<F>) => Promise<Result>;
}

/** A noun with its verbs. */
export interface Noun {
  readonly name: string;
  readonly about: string;
  readonly verbs: readonly Verb[];
}

/** Gives a verb the types of its flags, and takes them away again, because a noun has verbs of many types. */
export function verb<F extends Flags>(definition: Verb<F>): Verb {
  return definition as unknown as Verb;
}
