/** Streams of real frameworks, whose credentials change. */
import { Code, createContextValues } from "@connectrpc/connect";
import { describe, expect, it } from "vitest";
import { requireApiKey } from "../../client/src/connect.ts";
import { Health } from "../../src/gen/grpc/health/v1/health_pb.ts";
import { Change_Kind as Kind } from "../../src/gen/latchkey/v1/change_pb.ts";
import { NearService, unavailable } from "./near-service.ts";
import { streamContract } from "./stream-contract.ts";
import { refusalOf, STREAM_DOORS } from "./stream-doors.ts";
import { fakeWorld } from "./world.ts";

describe("streams over fakeLatchkey", () => streamContract(() => fakeWorld()));

describe("streams over fakeLatchkey, near", () => streamContract(() => fakeWorld(true)));

it("is no longer judged once its caller has left a handler of Connect that ignores its signal", async () => {
  const world = await fakeWorld();
  const { apiKey } = await world.newKey();
  const watches: string[] = [];
  const watchKey = () => {
    watches.push("begun");
    return () => watches.push("ended");
  };
  const latchkey = Object.assign(world.latchkey, { watchKey });
  const caller = new AbortController();
  const request = {
    ...{ stream: true, signal: caller.signal, method: Health.method.watch, contextValues: createContextValues() },
    header: new Headers({ "x-api-key": apiKey }),
  };
  const never = { [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => {}) }) };
  const serve = requireApiKey(latchkey)(async () => ({ stream: true, header: new Headers(), message: never }) as never);
  const response = (await serve(request as never)) as { message: AsyncIterable<unknown> };
  void response.message[Symbol.asyncIterator]().next();
  expect(watches).toEqual(["begun"]);
  caller.abort();
  expect(watches).toEqual(["begun", "ended"]);
  await world[Symbol.asyncDispose]();
});

describe.each(STREAM_DOORS)("a stream of $name, by a moved clock", (door) => {
  it.each(["unreachable", "behind"])("ends UNAVAILABLE 5 s after a change, if the service is %s", async (fault) => {
    const service = new NearService();
    const latchkey = service.client();
    await service.settle();
    await using running = await door.start(latchkey, "requireApiKey");
    const key = service.issue();
    const stream = await running.open(key.raw);
    if (fault === "unreachable") service.failure = unavailable();
    // Nothing that such a process says of the key counts.
    else [service.lag, service.ageMs] = [1n, 60_000];
    await service.change(Kind.KEY, key.id);
    for (let at = 0; at < 9; at++) {
      await service.time.pass(550);
      await service.settle();
      await stream.next();
    }
    const end = stream.end();
    await service.time.pass(50);
    const error = await end;
    expect([error.code, refusalOf(error)]).toEqual([Code.Unavailable, "UNAVAILABLE"]);
    await expect.poll(() => running.handlers).toBe(0);
    await latchkey.close();
  });
});
