/** Most things remembered one by one, about 1 MiB; under steady misses some read is always under way. */
const MAX_REMEMBERED = 10_000;

/**
 * What changed while reads are under way: whether what a read brought is older than news of it. Changes are numbered;
 * while nothing is being read, none is remembered. Beyond MAX_REMEMBERED all are forgotten, and every read that began
 * before counts as overtaken: it is answered, and not kept.
 */
export class RecentChanges {
  #count = 0;
  #readsUnderWay = 0;
  /** The number at which each thing changed last. */
  readonly #changedAt = new Map<string, number>();
  #forgottenAt = 0;
  #allChangedAt = 0;

  /** How many things are remembered. */
  get size(): number {
    return this.#changedAt.size;
  }

  /** A read begins; `end` must follow. @returns the number of the last change that it may see */
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

  /** Everything changed. */
  noteAll(): void {
    this.#allChangedAt = ++this.#count;
  }

  /** Whether any of these changed, or may have, after the change of that number. */
  haveChanged(subjectIds: readonly string[], since: number): boolean {
    if (this.#allChangedAt > since || this.#forgottenAt > since) return true;
    return subjectIds.some((id) => (this.#changedAt.get(id) ?? 0) > since);
  }

  /** Whether everything changed after the change of that number. */
  allChanged(since: number): boolean {
    return this.#allChangedAt > since;
  }
}
