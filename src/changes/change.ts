/** Kinds of things that a verdict depends on. */
export type ChangeKind = "KEY" | "OWNER" | "SESSION" | "SERVICE_CREDENTIAL" | "SIGNING_KEY";

/** Something that a verdict depends on changed. */
export interface Change {
  readonly kind: ChangeKind;
  readonly subjectId: string;
}

/**
 * Where copies of the truth learn of changes. For now of those that this process made, after their COMMIT and before
 * the caller has an answer; the change feed will publish everyone's here.
 */
export class ChangeBus {
  readonly #subscribers: ((change: Change) => void)[] = [];

  /** @param apply must not throw: each copy is told of each change */
  subscribe(apply: (change: Change) => void): void {
    this.#subscribers.push(apply);
  }

  publish(changes: readonly Change[]): void {
    for (const change of changes) for (const apply of this.#subscribers) apply(change);
  }
}
