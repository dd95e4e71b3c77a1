import { type Listed, OldestFirst } from "../lib/oldest-first.ts";

/**
 * Locks by name within this process (mutual exclusion). A visitor that wants several names takes them one by one in
 * sorted order, so that visitors never wait for each other in a circle. Each name goes to its visitors in the order in
 * which they came.
 */
export class NamedLocks {
  /** The visitors of each name; the oldest one holds it. A name without visitors is removed. */
  readonly #visitors = new Map<string, OldestFirst<Step>>();

  /** Number of names held. */
  get size(): number {
    return this.#visitors.size;
  }

  /**
   * Takes all names, immediately or later. A name that is given twice counts once.
   *
   * @param onEnter called once when all names are held: within `enter`, or later when another visitor leaves
   */
  enter(names: readonly string[], onEnter: () => void): LockPass {
    const visit = { names: [...new Set(names)].sort(), steps: [], onEnter, hasLeft: false };
    this.#goOn(visit);
    return { leave: () => this.#leave(visit) };
  }

  #goOn(visit: Visit): void {
    while (visit.steps.length < visit.names.length) {
      const name = visit.names[visit.steps.length]!;
      const step = { isListed: false, older: undefined, newer: undefined, visit };
      visit.steps.push(step);
      const visitors = this.#visitorsOf(name);
      visitors.add(step);
      if (visitors.oldest !== step) return;
    }
    visit.onEnter();
  }

  #leave(visit: Visit): void {
    if (visit.hasLeft) return;
    visit.hasLeft = true;
    for (const [at, step] of visit.steps.entries()) {
      const name = visit.names[at]!;
      const visitors = this.#visitorsOf(name);
      const hadIt = visitors.oldest === step;
      visitors.delete(step);
      const next = visitors.oldest;
      if (next === undefined) this.#visitors.delete(name);
      else if (hadIt) this.#goOn(next.visit);
    }
  }

  #visitorsOf(name: string): OldestFirst<Step> {
    let visitors = this.#visitors.get(name);
    if (visitors === undefined) {
      visitors = new OldestFirst();
      this.#visitors.set(name, visitors);
    }
    return visitors;
  }
}

/** A visitor that holds its names, or waits for them. */
export interface LockPass {
  /** Gives the names back, or stops waiting. A second call has no effect. */
  leave(): void;
}

interface Visit {
  readonly names: readonly string[];
  /** One step for each name that the visit holds, and one for the name that it waits for. */
  readonly steps: Step[];
  readonly onEnter: () => void;
  hasLeft: boolean;
}

/** The place of a visitor among the visitors of one name. */
interface Step extends Listed {
  readonly visit: Visit;
}
