import { errorOf, LatchkeyCredentialError, LatchkeyRequestError } from "./errors.ts";
import type { Events } from "./events.ts";
import type { StreamState } from "./near/watch-stream.ts";

/** The state of this client, as it follows from the outcomes of calls and of the stream. */
export class Outcomes {
  readonly #events: Events;
  /** Whether listeners know already that the credential is refused. */
  #isCredentialTold = false;
  /** Whether the service has no room for the stream. */
  #isWithoutStream = false;
  #isOlderTold = false;
  failures = 0;

  constructor(events: Events) {
    this.#events = events;
  }

  succeed(): void {
    this.#isCredentialTold = false;
    this.#events.become(this.#isWithoutStream ? "no stream" : "ready");
  }

  /** @throws always: the error as callers see it */
  fail(error: unknown): never {
    const failure = errorOf(error);
    this.failures++;
    if (!(failure instanceof LatchkeyRequestError)) this.#events.become("unavailable");
    if (failure instanceof LatchkeyCredentialError) this.tellCredential(failure);
    throw failure;
  }

  /** Tells listeners of a refused credential: once, until a call succeeds. */
  tellCredential(failure: LatchkeyCredentialError): void {
    if (this.#isCredentialTold) return;
    this.#isCredentialTold = true;
    this.#events.emit("error", failure);
  }

  streamIs(state: StreamState): void {
    if (state === "older service") this.#tellOlder();
    this.#isWithoutStream = state === "no stream";
    const { state: now } = this.#events;
    if (now === "ready" || now === "no stream") this.#events.become(this.#isWithoutStream ? "no stream" : "ready");
  }

  #tellOlder(): void {
    if (this.#isOlderTold) return;
    this.#isOlderTold = true;
    const message =
      "the service is older than near verification: each verdict is a call, until the service is a newer one";
    this.#events.emit("error", new Error(message));
  }
}
