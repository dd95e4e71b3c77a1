import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { type SentAnswer, UnreadAnswers } from "../../src/rpc/lanes/unread-answers.ts";

/** Maximum short answers that may be open, and the time that a client has to read them above that number. */
const MAX_OPEN = 10_000;
const TIME_TO_READ_MS = 250;

let answers: UnreadAnswers;
let cut: string[];
beforeEach(() => {
  vi.useFakeTimers();
  answers = new UnreadAnswers();
  cut = [];
});
afterEach(() => {
  vi.useRealTimers();
});

/** Adds `count` answers of one client, whose connection is cut at most once. */
function leaveOpen(connection: { readonly name: string }, count: number): readonly SentAnswer[] {
  const added = Array.from({ length: count }, () => ({
    connection,
    sentNo: 0,
    isListed: false,
    older: undefined,
    newer: undefined,
    cutConnection: () => void cut.push(connection.name),
  }));
  for (const answer of added) answers.add(answer);
  return added;
}

it("cuts no connection while at most 10,000 answers are open", () => {
  leaveOpen({ name: "a" }, MAX_OPEN);
  vi.advanceTimersByTime(10 * TIME_TO_READ_MS);
  expect(cut).toEqual([]);
});

it("cuts the connection with the most open answers first, and no more than needed", () => {
  leaveOpen({ name: "some" }, 4000);
  leaveOpen({ name: "most" }, 5000);
  leaveOpen({ name: "few" }, 1001);
  vi.advanceTimersByTime(TIME_TO_READ_MS);
  expect(cut).toEqual(["most"]);
  expect(answers.cut).toBe(1);
});

it("counts all answers of a cut connection as gone, also those that were added while it had time to read", () => {
  const [first, second] = [{ name: "first" }, { name: "second" }];
  leaveOpen(first, 5001);
  leaveOpen(second, 5000);
  leaveOpen(first, 4000);
  leaveOpen(second, 4000);
  vi.advanceTimersByTime(TIME_TO_READ_MS);
  expect(cut).toEqual(["first"]);
});

it("gives the answers of a client that came later their time to be read", () => {
  leaveOpen({ name: "old" }, MAX_OPEN + 1);
  const late = leaveOpen({ name: "late" }, MAX_OPEN + 2);
  vi.advanceTimersByTime(TIME_TO_READ_MS);
  expect(cut).toEqual(["old"]);
  for (const answer of late) answers.delete(answer);
  vi.advanceTimersByTime(TIME_TO_READ_MS);
  expect(cut).toEqual(["old"]);
});
