/** The life of the stream of changes, with a moved clock and streams that the test writes. */
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, it } from "vitest";
import { LatchkeyCredentialError, LatchkeyUnavailable } from "../../client/src/latchkey.ts";
import type { AppliedMessage, StreamAttempt } from "../../client/src/near/stream-attempt.ts";
import { type StreamState, WatchStream } from "../../client/src/near/watch-stream.ts";
import { ErrorInfoSchema } from "../../src/gen/google/rpc/error_details_pb.ts";
import {
  type WatchRevocationsResponse,
  WatchRevocationsResponseSchema,
} from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { MovedTime } from "./moved-time.ts";

/** One call of WatchRevocations, as the service sees it. */
interface Served {
  readonly cursor: string;
  readonly credential: string | undefined;
  readonly openedAtMs: number;
  readonly signal: AbortSignal;
  send(message: { cursor: string; epoch?: bigint }): Promise<void>;
  fail(error?: Error): Promise<void>;
}

function makeWorld({ random = 0.5, other }: { random?: number; other?: string | undefined } = {}) {
  const time = new MovedTime();
  const served: Served[] = [];
  const states: StreamState[] = [];
  const errors: Error[] = [];
  const applied: string[] = [];
  const ended: StreamAttempt[] = [];
  let number = 0;
  let isReopenNeeded = false;
  const near = {
    cursor: "",
    openStream: (cursor: string): StreamAttempt => ({
      ...{ number: ++number, cursor, openedAtMs: time.nowMs, skippedMs: 0 },
      ...{ epoch: undefined, hasEnded: false },
    }),
    apply: (attempt: StreamAttempt, { cursor }: WatchRevocationsResponse): AppliedMessage => {
      applied.push(`${attempt.number}:${cursor}`);
      if (cursor !== "") near.cursor = cursor;
      return { resync: false, mayChangeAll: false, changes: [], isWhole: cursor !== "", epoch: 7n, position: 1n };
    },
    streamEnded: (attempt: StreamAttempt) => void ended.push(attempt),
    mustReopen: () => isReopenNeeded,
  };
  async function* watch(cursor: string, credential: string | undefined, signal: AbortSignal) {
    const queue: (WatchRevocationsResponse | Error | undefined)[] = [];
    let wake = () => {};
    const push = async (one: (typeof queue)[number]) => {
      queue.push(one);
      wake();
      await time.pass(0);
      await time.pass(0);
    };
    signal.addEventListener("abort", () => void push(new ConnectError("canceled", Code.Canceled)));
    served.push({
      ...{ cursor, credential, signal, openedAtMs: time.nowMs },
      send: ({ cursor: next, epoch = 7n }) =>
        push(create(WatchRevocationsResponseSchema, { cursor: next, epoch, position: 1n })),
      fail: (error) => push(error),
    });
    for (;;) {
      while (queue.length === 0) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      const next = queue.shift();
      if (next instanceof Error) throw next;
      if (next === undefined) return;
      yield next;
    }
  }
  const stream = new WatchStream({
    near,
    credential: { current: () => "one", after: async () => other },
    watch,
    timers: time,
    random: () => random,
    onApplied: () => {},
    onState: (state) => states.push(state),
    onError: (error) => errors.push(error),
  });
  const start = async () => {
    stream.start();
    await time.pass(0);
  };
  const needReopen = (value: boolean) => {
    isReopenNeeded = value;
  };
  return { time, stream, served, states, errors, applied, ended, near, start, needReopen };
}

const unavailable = () => new ConnectError("gone", Code.Unavailable);
const overloaded = () =>
  new ConnectError("too many watches", Code.ResourceExhausted, undefined, [
    { desc: ErrorInfoSchema, value: { reason: "OVERLOADED", domain: "latchkey" } },
  ]);

describe("the stream", () => {
  it("is opened once, and is up with the first whole message", async () => {
    const { stream, served, applied, start, states } = makeWorld();
    await start();
    await start();
    expect(served).toHaveLength(1);
    await served[0]!.send({ cursor: "" });
    expect(stream.state).toBe("opening");
    await served[0]!.send({ cursor: "a" });
    expect(applied).toEqual(["1:", "1:a"]);
    expect(states).toEqual(["opening", "open"]);
    await expect(stream.up()).resolves.toBeUndefined();
  });

  it("reconnects from the last cursor that was not empty", async () => {
    const { served, start, time, ended } = makeWorld();
    await start();
    await served[0]!.send({ cursor: "a" });
    await served[0]!.send({ cursor: "" });
    await served[0]!.fail(unavailable());
    expect(ended).toHaveLength(1);
    await time.pass(100);
    expect(served.map(({ cursor }) => cursor)).toEqual(["", "a"]);
  });

  it("reconnects after a random part of 0.1 s, and of up to 5 s after failures in a row", async () => {
    const { served, start, time } = makeWorld({ random: 0.999 });
    await start();
    for (let at = 0; at < 9; at++) {
      await served.at(-1)!.fail(unavailable());
      await time.pass(5000);
    }
    const pauses = served.map(({ openedAtMs }, at) => Math.round(openedAtMs - at * 5000));
    expect(pauses.slice(1)).toEqual([100, 200, 400, 799, 1598, 3197, 4995, 4995, 4995].map((ms) => ms - 5000));
  });

  it("counts a stream as a success only once it was up for 5 s", async () => {
    const { served, start, time } = makeWorld({ random: 0.999 });
    await start();
    const pauseAfter = async (lifeMs: number) => {
      const fromMs = time.nowMs;
      await served.at(-1)!.send({ cursor: "a" });
      await time.pass(lifeMs);
      await served.at(-1)!.fail();
      await time.pass(5000);
      return Math.round(served.at(-1)!.openedAtMs - fromMs - lifeMs);
    };
    // The remaining life of each pause counts as life of the next stream.
    const [first, second] = [await pauseAfter(0), served.length];
    expect([first, second]).toEqual([100, 2]);
    await served.at(-1)!.fail(unavailable());
    await time.pass(5000);
    expect(await pauseAfter(6000)).toBe(100);
  });

  it("starts without a cursor where the service refuses the cursor", async () => {
    const { served, start, time } = makeWorld();
    await start();
    await served[0]!.send({ cursor: "a" });
    await served[0]!.fail(unavailable());
    await time.pass(100);
    await served[1]!.fail(new ConnectError("no cursor", Code.InvalidArgument));
    await time.pass(200);
    expect(served.map(({ cursor }) => cursor)).toEqual(["", "a", ""]);
  });

  it.each([
    [0, 480_000],
    [0.5, 600_000],
    [0.999, 719_760],
  ])(
    "is replaced after 10 minutes ± 20 %%, and the new one is up before the old one ends (%d)",
    async (random, lifeMs) => {
      const { served, start, time, applied, stream } = makeWorld({ random });
      await start();
      await served[0]!.send({ cursor: "a" });
      const keepAlive = async (ms: number) => {
        for (let at = 0; at < ms; at += 10_000) {
          await time.pass(Math.min(10_000, ms - at));
          await served[0]!.send({ cursor: "a" });
        }
      };
      await keepAlive(lifeMs - 1);
      expect(served).toHaveLength(1);
      await time.pass(1);
      expect(served.map(({ cursor }) => cursor)).toEqual(["", "a"]);
      await served[0]!.send({ cursor: "b" });
      await served[1]!.send({ cursor: "" });
      expect([served[0]!.signal.aborted, stream.state]).toEqual([false, "open"]);
      await served[1]!.send({ cursor: "c" });
      expect(served[0]!.signal.aborted).toBe(true);
      await served[0]!.send({ cursor: "d" });
      expect(applied.slice(-3)).toEqual(["1:b", "2:", "2:c"]);
      await time.pass(5000);
      expect(served).toHaveLength(2);
    },
  );

  it("keeps the old one where the new one fails, and tries again", async () => {
    const { served, start, time, stream } = makeWorld({ random: 0 });
    await start();
    await served[0]!.send({ cursor: "a" });
    for (let at = 0; at < 48; at++) {
      await time.pass(10_000);
      await served[0]!.send({ cursor: "a" });
    }
    await served[1]!.fail(overloaded());
    expect([stream.state, served[0]!.signal.aborted]).toEqual(["open", false]);
    await time.pass(5000);
    expect(served.length).toBeGreaterThan(2);
  });

  it("is replaced if no message comes for 15 s", async () => {
    const { served, start, time, states } = makeWorld({ random: 0 });
    await start();
    await served[0]!.send({ cursor: "a" });
    await time.pass(14_999);
    expect(served).toHaveLength(1);
    await time.pass(2);
    expect(served.map(({ cursor }) => cursor)).toEqual(["", "a"]);
    expect(states).toEqual(["opening", "open", "waiting", "opening"]);
  });

  it("is replaced if the machine was suspended since it was opened", async () => {
    const { served, start, needReopen } = makeWorld();
    await start();
    needReopen(true);
    await served[0]!.send({ cursor: "a" });
    expect(served).toHaveLength(2);
    await served[0]!.send({ cursor: "b" });
    expect(served).toHaveLength(2);
  });

  it("asks for the credential again where it is refused, once in each attempt", async () => {
    const { served, start, time, errors } = makeWorld({ other: "two" });
    await start();
    await served[0]!.fail(new ConnectError("no", Code.Unauthenticated));
    expect(served.map(({ credential }) => credential)).toEqual(["one", "two"]);
    await served[1]!.fail(new ConnectError("no", Code.Unauthenticated));
    expect(served).toHaveLength(2);
    expect(errors[0]).toBeInstanceOf(LatchkeyCredentialError);
    await time.pass(100);
    expect(served).toHaveLength(3);
  });

  it("ends at close, and is not opened again", async () => {
    const { served, start, time, stream, states } = makeWorld();
    await start();
    const waiting = expect(stream.up()).rejects.toThrow("closed");
    stream.close();
    await waiting;
    await served[0]!.send({ cursor: "a" });
    await time.pass(60_000);
    expect([served.length, served[0]!.signal.aborted, states.at(-1)]).toEqual([1, true, "closed"]);
    await expect(stream.up()).rejects.toThrow("closed");
  });
});

describe("up", () => {
  it.each([
    [unavailable(), LatchkeyUnavailable],
    [new ConnectError("no", Code.Unauthenticated), LatchkeyCredentialError],
    [new ConnectError("no", Code.PermissionDenied), LatchkeyCredentialError],
  ])("rejects with what is wrong (%#)", async (error, failure) => {
    const { served, start, stream, time } = makeWorld();
    await start();
    const up = expect(stream.up()).rejects.toBeInstanceOf(failure);
    await served[0]!.fail(error);
    await up;
    // A later call tries at once.
    const again = stream.up();
    await time.pass(0);
    await served[1]!.send({ cursor: "a" });
    await expect(again).resolves.toBeUndefined();
  });

  it("resolves where the service has no room for the stream, which is tried again", async () => {
    const { served, start, stream, time } = makeWorld();
    await start();
    const up = stream.up();
    await served[0]!.fail(overloaded());
    await up;
    expect(stream.state).toBe("no stream");
    await expect(stream.up()).resolves.toBeUndefined();
    await time.pass(100);
    await served[1]!.send({ cursor: "a" });
    expect(stream.state).toBe("open");
  });

  it.each([
    ["no epoch", undefined],
    ["no such method", new ConnectError("unknown", Code.Unimplemented)],
  ])("resolves where the service is older than near verification: %s", async (_, error) => {
    const { served, start, stream, time, applied } = makeWorld({ random: 0 });
    await start();
    const up = stream.up();
    if (error === undefined) await served[0]!.send({ cursor: "a", epoch: 0n });
    else await served[0]!.fail(error);
    await up;
    expect([stream.state, applied, served[0]!.signal.aborted]).toEqual(["older service", [], true]);
    await time.pass(479_999);
    expect(served).toHaveLength(1);
    await time.pass(1);
    await served[1]!.send({ cursor: "b" });
    expect(stream.state).toBe("open");
  });
});
