/** Maximum values that are shared. Beyond it, all are forgotten: those in use stay, and later ones are shared again. */
const MAX_VALUES = 1000;
/** A longer id is not worth its memory. */
const MAX_ID_LENGTH = 256;

/**
 * An intern table: values that most keys have in common, such as a tier or a list of scopes, are in memory once.
 * Without it they would take a third of a record's memory.
 */
export class SharedValues {
  readonly #values = new Map<string, unknown>();

  /** The shared value of an id, made if there is none. @param id names the kind of value too */
  of<T>(id: string, make: () => T): T {
    if (id.length > MAX_ID_LENGTH) return make();
    const known = this.#values.get(id);
    if (known !== undefined) return known as T;
    if (this.#values.size >= MAX_VALUES) this.#values.clear();
    const value = make();
    this.#values.set(id, value);
    return value;
  }
}
