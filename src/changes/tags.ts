/**
 * An inverted index: from each tag, such as an owner's id, to the ids of the records that depend on it. Most tags have
 * one id, which is stored as a plain text, because a Set for each would take more memory than the records.
 */
export class Tags {
  readonly #ids = new Map<string, string | Set<string>>();

  add(tag: string, id: string): void {
    const known = this.#ids.get(tag);
    if (known === undefined) this.#ids.set(tag, id);
    else if (typeof known === "string") this.#ids.set(tag, known === id ? id : new Set([known, id]));
    else known.add(id);
  }

  delete(tag: string, id: string): void {
    const known = this.#ids.get(tag);
    if (known instanceof Set) {
      known.delete(id);
      if (known.size > 0) return;
    } else if (known !== id) {
      return;
    }
    this.#ids.delete(tag);
  }

  /** A copy of the list, which later changes don't affect. */
  idsOf(tag: string): readonly string[] {
    const known = this.#ids.get(tag);
    if (known === undefined) return [];
    return typeof known === "string" ? [known] : [...known];
  }

  clear(): void {
    this.#ids.clear();
  }
}
