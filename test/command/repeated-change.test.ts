/** The outcomes of `latchkey audit repeat` at a service that refuses a change, or that can't make it now. */
import { Code, ConnectError, createClient, createRouterTransport, type ServiceImpl } from "@connectrpc/connect";
import { AdminService, ErrorInfoSchema, Key_State, KeyService, RetryInfoSchema } from "@latchkey/client/contract";
import { describe, expect, it } from "vitest";
import { Progress } from "../../cli/src/progress.ts";
import type { LostChange } from "../../cli/src/trail/lost-changes.ts";
import { Repetition } from "../../cli/src/trail/repeated-change.ts";
import { recordedIo } from "./command.ts";

const CHANGE: LostChange = {
  subjectId: "key_1",
  event: { id: "evt_1", kind: "key.revoked", timeMs: 0, actorId: "", subjectId: "key_1", details: {} },
  todo: "revoke key",
  note: "",
};

function refusal(code: Code, { reason, waitSeconds }: { reason?: string; waitSeconds?: number } = {}): ConnectError {
  const info = reason === undefined ? [] : [{ desc: ErrorInfoSchema, value: { reason } }];
  const retryDelay = { seconds: BigInt(waitSeconds ?? 0), nanos: 0 };
  const retry = waitSeconds === undefined ? [] : [{ desc: RetryInfoSchema, value: { retryDelay } }];
  return new ConnectError("no", code, undefined, [...info, ...retry]);
}

/** A service that fails with these errors in turn, and then makes the change. `waits` are those between the tries. */
function repetitionAt(errors: readonly ConnectError[], more: Partial<ServiceImpl<typeof KeyService>> = {}) {
  const left = [...errors];
  const waits: number[] = [];
  const revokeKey = () => {
    const error = left.shift();
    if (error !== undefined) throw error;
    return {};
  };
  const getKey = () => ({ key: { id: "key_1", state: Key_State.ACTIVE } });
  const transport = createRouterTransport(({ service }) => {
    service(KeyService, { getKey, revokeKey, ...more });
  });
  const io = recordedIo();
  const [keys, admin] = [createClient(KeyService, transport), createClient(AdminService, transport)];
  const invocation = { io, keys, admin, call: {}, progress: new Progress(io, "") };
  const repetition = new Repetition(invocation, true, async (ms) => void waits.push(ms));
  return { repetition, waits };
}
const many = (count: number, error: ConnectError) => Array.from({ length: count }, () => error);
const limited = refusal(Code.ResourceExhausted, { waitSeconds: 3 });

describe("a lost change", () => {
  it.each<[what: string, errors: readonly ConnectError[], outcome: string, waits: readonly number[]]>([
    ["aborted four times is made", many(4, refusal(Code.Aborted)), "done", many(4, limited).map(() => 1000)],
    ["without a service for a while is made", many(2, refusal(Code.Unavailable)), "done", [1000, 1000]],
    ["aborted five times is refused", many(5, refusal(Code.Aborted)), "refused: Aborted", [1000, 1000, 1000, 1000]],
    ["beyond the rate of changes is made later", many(9, limited), "done", many(9, limited).map(() => 3000)],
    [
      "beyond the rate of changes ends",
      many(99, limited),
      "refused: ResourceExhausted",
      many(20, limited).map(() => 3000),
    ],
    [
      "too large for the service is refused at once",
      [refusal(Code.ResourceExhausted)],
      "refused: ResourceExhausted",
      [],
    ],
    [
      "that has to wait for hours is refused at once",
      [refusal(Code.Unavailable, { reason: "DATABASE_UNAVAILABLE", waitSeconds: 7200 })],
      "refused: DATABASE_UNAVAILABLE",
      [],
    ],
    ["of what is unknown by now is none", [refusal(Code.NotFound)], "unknown here", []],
    [
      "has the service's reason",
      [refusal(Code.FailedPrecondition, { reason: "LAST_ADMIN" })],
      "refused: LAST_ADMIN",
      [],
    ],
    ["shows no reason of a liar", [refusal(Code.Internal, { reason: "\u001b[2J" })], "refused: Internal", []],
  ])("%s", async (_what, errors, outcome, expected) => {
    const { repetition, waits } = repetitionAt(errors);
    expect(await repetition.repeat(CHANGE)).toBe(outcome);
    expect(waits).toEqual(expected);
  });

  it("at a service that stays unavailable is waited for once, and the later ones have one try each", async () => {
    const { repetition, waits } = repetitionAt(many(7, refusal(Code.Unavailable)));
    const outcomes = [];
    for (let n = 0; n < 4; n++) outcomes.push(await repetition.repeat(CHANGE));
    expect(outcomes).toEqual([...Array(3).fill("refused: Unavailable"), "done"]);
    expect(waits).toHaveLength(4);
  });
});
