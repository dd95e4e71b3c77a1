import { EventEmitter } from "node:events";
import { expect, it } from "vitest";
import { Signals } from "../../src/start/signals.ts";

/** A process whose timers the test runs by hand. */
function signalled() {
  const done: string[] = [];
  const waiting: { ms: number; run: () => void }[] = [];
  const turns: (() => void)[] = [];
  const signals = new Signals(
    {
      stop: (signal) => done.push(`stop by ${signal}`),
      force: () => done.push("force"),
      reload: () => done.push("reload"),
    },
    {
      after: (ms, run) => {
        waiting.push({ ms, run });
        return () => {};
      },
      nextTurn: (run) => turns.push(run),
    },
  );
  const process = new EventEmitter();
  signals.listen(process as unknown as NodeJS.Process);
  const send = (...names: NodeJS.Signals[]) => {
    for (const name of names) process.emit(name, name);
  };
  return { done, send, waiting, turns, signals };
}

it.each<[signals: NodeJS.Signals[]]>([
  [["SIGTERM", "SIGTERM"]],
  [["SIGINT", "SIGTERM", "SIGINT"]],
  [["SIGTERM", "SIGHUP", "SIGTERM"]],
])("%s within a second are one stop", (names) => {
  const { done, send } = signalled();
  send(...names);
  expect(done.filter((each) => each !== "reload")).toEqual([`stop by ${names[0]}`]);
});

it("a request to stop more than a second after the first forces", () => {
  const { done, send, waiting, turns } = signalled();
  send("SIGTERM");
  expect(waiting.map(({ ms }) => ms)).toEqual([1000]);
  waiting[0]!.run();
  turns[0]!();
  send("SIGINT");
  expect(done).toEqual(["stop by SIGTERM", "force"]);
});

it("a signal that came while the process stood still for more than a second is the same stop", () => {
  const { done, send, waiting, turns } = signalled();
  send("SIGTERM");
  // The process goes on: first its timers run, then it hears of the signal, then the next turn begins.
  waiting[0]!.run();
  send("SIGTERM");
  turns[0]!();
  expect(done).toEqual(["stop by SIGTERM"]);
});

it("SIGHUP only reloads, before a stop and after it", () => {
  const { done, send, signals } = signalled();
  send("SIGHUP");
  signals.stop("SIGTERM");
  send("SIGHUP");
  expect(done).toEqual(["reload", "stop by SIGTERM", "reload"]);
});
