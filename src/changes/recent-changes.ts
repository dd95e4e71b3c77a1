/**
 * Maximum things remembered, about 1 MiB. With steady cache misses, some read is always under way, so the memory would
 * grow forever without this bound.
 */
const MAX_REMEMBERED = 10_000;

/**
 * Remembers the changes that happen while reads are under way, to tell whether the result of a read is outdated.
 * Changes are numbered. While no read is under way, none is remembered. Beyond MAX_REMEMBERED, all are forgotten: every
 * read that began before then counts as outdated, so its result is returned but not kept.
 */
export class RecentChanges {
  #count = 0;
  #readsUnderWay = 0;
  /** The number of the last change of each thing. */
  readonly #changedAt = new Map<string, number>();
  #forgottenAt = 0;
  #allChangedAt = 0;

  /** Number of things remembered. */
  get size(): number {
    return this.#changedAt.size;
  }

  /** Begins a read; `end` must follow. @returns the number of the last change that the read may see */
  begin(): number {
    this.#readsUnderWay++;
    return this.#count;
  }

  end(): void {
    if (--this.#readsUnderWay === 0) this.#changedAt.clear();
  }

  note(subjectId: string): void {
    this.#count++;
    if (this.#readsUnderWay === 0) return;
    if (this.#changedAt.size >= MAX_REMEMBERED) {
      this.#changedAt.clear();
      this.#forgottenAt = this.#count;
    }
    this.#changedAt.set(subjectId, this.#count);
  }

  /** Records that everything changed. */
  noteAll(): void {
    this.#allChangedAt = ++this.#count;
  }

  /** Whether any of these changed, or may have changed, after the change with that number. */
  haveChanged(subjectIds: readonly string[], since: number): boolean {
    if (this.#allChangedAt > since || this.#forgottenAt > since) return true;
    return subjectIds.some((id) => (this.#changedAt.get(id) ?? 0) > since);
  }

  /** Whether `noteAll` was called after the change with that number. */
  allChanged(since: number): boolean {
    return this.#allChangedAt > since;
  }
}
