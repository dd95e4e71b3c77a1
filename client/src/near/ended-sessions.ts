/** Half of the 100,000 that are remembered at most, about 10 MB. At 50 a second they cover half an hour. */
const MAX_GENERATION = 50_000;
/** A session's last token may be dated this much after its end: each process estimates the database's time. */
const DATING_MS = 5_000;

/**
 * The sessions that are known to have ended. This is negative knowledge: a resync ends none of it, and forgetting a
 * session could make its tokens good again. So what is forgotten makes older tokens unknown. It has two generations:
 * when the younger one is full, the older one is forgotten as a whole.
 */
export class EndedSessions {
  #young = new Map<string, number>();
  #old = new Map<string, number>();
  #oldToMs = Number.NEGATIVE_INFINITY;
  #youngToMs = Number.NEGATIVE_INFINITY;
  /** Sessions that ended by then may be forgotten. */
  #forgottenToMs = Number.NEGATIVE_INFINITY;

  get size(): number {
    return this.#young.size + this.#old.size;
  }

  /** @param endedAtMs by the database's clock */
  note(sessionId: string, endedAtMs: number): void {
    if (this.has(sessionId)) return;
    if (this.#young.size >= MAX_GENERATION) {
      this.#forgottenToMs = Math.max(this.#forgottenToMs, this.#oldToMs);
      [this.#old, this.#oldToMs] = [this.#young, this.#youngToMs];
      [this.#young, this.#youngToMs] = [new Map(), Number.NEGATIVE_INFINITY];
    }
    this.#young.set(sessionId, endedAtMs);
    this.#youngToMs = Math.max(this.#youngToMs, endedAtMs);
  }

  has(sessionId: string): boolean {
    return this.#young.has(sessionId) || this.#old.has(sessionId);
  }

  /** Whether the end of a session with a token of that time may be forgotten. @param issuedAtMs by the database's clock */
  mayHaveForgotten(issuedAtMs: number): boolean {
    return issuedAtMs <= this.#forgottenToMs + DATING_MS;
  }
}
