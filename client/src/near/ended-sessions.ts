import { RememberedNumbers } from "./remembered-numbers.ts";

/** About 10 MB. At 50 a second, half of them cover a quarter of an hour. */
const MAX_SESSIONS = 100_000;
/** A session's last token may be dated this much after its end: each process estimates the database's time. */
const DATING_MS = 5_000;

/**
 * The sessions that are known to have ended. This is negative knowledge: a resync ends none of it, and forgetting a
 * session could make its tokens good again. So what is forgotten makes older tokens unknown.
 */
export class EndedSessions {
  readonly #endedAtMs = new RememberedNumbers(MAX_SESSIONS);

  get size(): number {
    return this.#endedAtMs.size;
  }

  /** @param endedAtMs by the database's clock */
  note(sessionId: string, endedAtMs: number): void {
    if (!this.has(sessionId)) this.#endedAtMs.set(sessionId, endedAtMs);
  }

  has(sessionId: string): boolean {
    return this.#endedAtMs.get(sessionId) !== undefined;
  }

  /** Whether the end of a session with a token of that time may be forgotten. @param issuedAtMs by the database's clock */
  mayHaveForgotten(issuedAtMs: number): boolean {
    return issuedAtMs <= this.#endedAtMs.forgottenTo + DATING_MS;
  }
}
