/**
 * Which records depend on what: ids by tag. Most tags have one id, which is then kept as it is; a Set for each would take
 * more memory than the records.
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

  /** A list of its own, which later changes leave alone. */
  idsOf(tag: string): readonly string[] {
    const known = this.#ids.get(tag);
    if (known === undefined) return [];
    return typeof known === "string" ? [known] : [...known];
  }

  clear(): void {
    this.#ids.clear();
  }
}
