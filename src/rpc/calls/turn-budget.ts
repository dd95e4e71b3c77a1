import { FairGate } from "../../shares/fair-gate.ts";
import type { Holder } from "../../shares/holder.ts";

/**
 * How many steps of the Connect lane begin in one turn of the event loop: a call, or a message of a stream. Each costs up
 * to a millisecond, so that all other clients wait for at most a few.
 */
const STEPS_PER_TURN = 4;
/** Most steps that wait, of all clients: what one HTTP/2 connection may begin at once, from eight of them. */
const MAX_WAITING = 8000;

/**
 * Bounds what clients do to one turn of the event loop. Promises run on microtasks: without this a client whose messages
 * are there already is answered again and again before any timer or other connection gets its turn.
 */
export class TurnBudget {
  readonly #gate = new FairGate({
    places: STEPS_PER_TURN,
    mostPlaces: () => STEPS_PER_TURN,
    mostWaiting: () => MAX_WAITING,
    queue: MAX_WAITING,
  });
  #spent: (() => void)[] = [];

  /**
   * Begins a step: at once if this turn has any left, else in one of the next turns; those that wait are served in turn
   * by holder.
   *
   * @param whenGone is given what ends the wait, for a step that is not wanted any more
   * @returns false where too many wait, or where the wait was ended
   */
  async begin(holder: Holder, whenGone?: (endWait: () => void) => void): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const pass = this.#gate.enter(holder, { onEnter: () => resolve(true), onGiveWay: () => resolve(false) });
    if (pass === undefined) return false;
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
