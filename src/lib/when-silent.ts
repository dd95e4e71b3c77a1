import { systemTimers, type Timers } from "./clock.ts";

/**
 * Calls `onSilent` once if `answer` has not settled after `silenceMs`.
 *
 * After the timer it still waits one event-loop tick: if this process stalled, the timer fires before the answer that
 * waits in the socket is read.
 */
export function whenSilent(
  answer: Promise<unknown>,
  silenceMs: number,
  onSilent: () => void,
  timers: Timers = systemTimers,
): void {
  let isAnswered = false;
  const giveUp = () => {
    if (!isAnswered) onSilent();
  };
  const cancel = timers.after(silenceMs, () => timers.nextTurn(giveUp));
  const settle = () => {
    isAnswered = true;
    cancel();
  };
  answer.then(settle, settle);
}
