import { FairGate } from "../../shares/fair-gate.ts";
import type { Holder } from "../../shares/holder.ts";

export interface TurnBudgetOptions {
  /** Maximum steps that begin in one tick of the event loop. Default 4: a step of the Connect lane costs up to 1 ms. */
  readonly stepsPerTurn?: number;
  /** Maximum waiting steps of all clients. Default 8,000: one HTTP/2 connection may begin 1,000 streams at once. */
  readonly maxWaiting?: number;
}

const STEPS_PER_TURN = 4;
const MAX_WAITING = 8000;

/**
 * The number of steps that begin in one turn (tick) of the event loop, shared fairly by holder. It bounds how much work
 * clients cause in one turn. Promises run on microtasks. Without this bound, a client whose messages have all arrived
 * would get all its answers before any timer runs and before any other connection is read.
 */
export class TurnBudget {
  readonly #gate: FairGate;
  #spent: (() => void)[] = [];
  /** Number of steps since the start that were refused because too many waited. */
  refused = 0;

  constructor({ stepsPerTurn = STEPS_PER_TURN, maxWaiting = MAX_WAITING }: TurnBudgetOptions = {}) {
    this.#gate = new FairGate({
      places: stepsPerTurn,
      mostPlaces: () => stepsPerTurn,
      mostWaiting: () => maxWaiting,
      queue: maxWaiting,
    });
  }

  /** Number of waiting steps. */
  get waiting(): number {
    return this.#gate.waiting;
  }

  /**
   * Begins a step: immediately if this turn has any left, else in a later turn. Waiting holders are served in turn.
   *
   * @param whenGone receives the function that ends the wait, for a step that is no longer wanted
   * @returns false if too many steps wait, or if the wait was ended
   */
  async begin(holder: Holder, whenGone?: (endWait: () => void) => void): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const pass = this.#gate.enter(holder, { onEnter: () => resolve(true), onGiveWay: () => resolve(this.#refuse()) });
    if (pass === undefined) return this.#refuse();
    if (!pass.isInside) {
      whenGone?.(() => {
        if (pass.isInside) return;
        pass.leave();
        resolve(false);
      });
    }
    const mayBegin = await promise;
    if (mayBegin) this.#spend(() => pass.leave());
    return mayBegin;
  }

  /**
   * Runs a step in the same way, but without a promise. The step must not throw. It always runs: if too many steps
   * wait, it runs immediately.
   */
  run(holder: Holder, step: () => void): void {
    const pass = this.#gate.enter(holder, {
      onEnter: () => {
        this.#spend(() => pass?.leave());
        step();
      },
      onGiveWay: step,
    });
    if (pass === undefined) step();
  }

  #refuse(): false {
    this.refused++;
    return false;
  }

  #spend(giveBack: () => void): void {
    this.#spent.push(giveBack);
    if (this.#spent.length > 1) return;
    setImmediate(() => {
      const spent = this.#spent;
      this.#spent = [];
      for (const each of spent) each();
    });
  }
}
