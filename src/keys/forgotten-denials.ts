import type { Change, Copy } from "../changes/change.ts";
import type { Limiter } from "../limits/limit.ts";
import { keySubject } from "./limit-requests.ts";

/**
 * The denials that the limiter of this process remembers, as a copy that the change feed keeps true. A change of a key
 * may be a reset of its limits by another process, so its denials are forgotten. Counts stay: the owner of a key, who
 * can change it at any time, must not be able to empty them.
 */
export class ForgottenDenials implements Copy {
  readonly #limiter: Pick<Limiter, "forget" | "forgetAll">;

  constructor(limiter: Pick<Limiter, "forget" | "forgetAll">) {
    this.#limiter = limiter;
  }

  apply({ kind, subjectId }: Change): void {
    if (kind === "KEY") this.#limiter.forget(keySubject(subjectId));
  }

  clear(): void {
    this.#limiter.forgetAll();
  }
}
