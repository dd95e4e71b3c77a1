import { type Listed, OldestFirst } from "../lib/oldest-first.ts";

/**
 * Mutual exclusion by name within this process. A visitor that wants several names gets them one by one in one order, so
 * that visitors never wait for each other in a circle. Those that wait for a name get it in the order in which they came.
 */
export class NamedLocks {
  /** The visitors of each name, the oldest of which has it. A name without visitors is forgotten. */
  readonly #visitors = new Map<string, OldestFirst<Step>>();

  /** How many names are held. */
  get size(): number {
    return this.#visitors.size;
  }

  /**
   * Takes all names, at once or later. A name that is given twice counts once.
   *
   * @param onEnter is called once when all names are held: within `enter`, or later when another visitor leaves
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
  /** Gives the names back, or the wait up. Has no effect the second time. */
  leave(): void;
}

interface Visit {
  readonly names: readonly string[];
  /** One for each name that is held, and for the one that is waited for. */
  readonly steps: Step[];
  readonly onEnter: () => void;
  hasLeft: boolean;
}

/** A visitor's place among those of one name. */
interface Step extends Listed {
  readonly visit: Visit;
}
