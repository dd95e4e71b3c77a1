/** One row of the configuration: how a variable is read, and what docs/CONFIG.md says about it. */
export interface Setting<T, D extends string | undefined = string | undefined> {
  readonly name: string;
  /** As it would be written in the environment; undefined = no value. */
  readonly default: D;
  /** Throws an Error that says what the value must be. It never repeats the value, because that may be a secret. */
  readonly parse: (text: string) => T;
  readonly doc: string;
}

export function setting<T, D extends string | undefined>(
  name: string,
  fallback: D,
  parse: (text: string) => T,
  doc: string,
): Setting<T, D> {
  return { name, default: fallback, parse, doc };
}
