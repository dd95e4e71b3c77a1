/** Clients that do not finish their calls or do not read the answers: they must not take the capacity of others. */
import { Code, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterEach, describe, expect, it } from "vitest";
import { Health } from "../../src/gen/grpc/health/v1/health_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { type FrontDoor, type FrontDoorSetup, startFrontDoor } from "../support/front-door.ts";
import {
  connectRaw,
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  grpcHead,
  grpcMessage,
  HEADERS,
  RST_STREAM,
} from "../support/raw-http2.ts";
import { until } from "../support/until.ts";

const LOGIN = "/latchkey.v1.AuthService/Login";

let wire: FrontDoor;
afterEach(() => wire.server.stop());

async function start(setup: FrontDoorSetup) {
  wire = await startFrontDoor(setup);
  const transport = createGrpcTransport({ baseUrl: `http://${wire.address}` });
  return { auth: createClient(AuthService, transport), health: createClient(Health, transport) };
}

describe("a call whose message does not come", () => {
  it("gives way to a complete call: the oldest ends first, and no more end than needed", async () => {
    const { auth } = await start({ auth: { login: async () => ({}) }, deps: { maxCalls: 3 } });
    using slow = await connectRaw(wire.port);
    await slow.send(Buffer.concat([1, 3, 5].map((id) => frame(HEADERS, END_HEADERS, id, grpcHead(LOGIN)))));
    await until(() => wire.server.callsInFlight === 3);
    await expect(auth.login({})).resolves.toBeDefined();
    expect(wire.finished).toEqual([
      ["AuthService.Login", "RESOURCE_EXHAUSTED"],
      ["AuthService.Login", "OK"],
    ]);
    // The server serves the remaining calls as soon as their messages come.
    await slow.send(frame(DATA, END_STREAM, 5, grpcMessage(new Uint8Array())));
    await until(() => wire.finished.length === 3);
    expect(wire.finished[2]).toEqual(["AuthService.Login", "OK"]);
    expect(wire.server.callsInFlight).toBe(1);
  });

  it("gives way in the order of age, even if calls between have got their messages", async () => {
    const gate = Promise.withResolvers<void>();
    let running = 0;
    const { auth } = await start({
      auth: {
        login: async () => {
          running++;
          await gate.promise;
          return {};
        },
        logout: async () => ({}),
      },
      deps: { maxCalls: 3 },
    });
    using slow = await connectRaw(wire.port);
    const open = (id: number) => slow.send(frame(HEADERS, END_HEADERS, id, grpcHead(LOGIN)));
    const goOn = (id: number) => slow.send(frame(DATA, END_STREAM, id, grpcMessage(new Uint8Array())));
    for (const id of [1, 3, 5]) await open(id);
    await until(() => wire.server.callsInFlight === 3);
    await goOn(3);
    await until(() => running === 1);
    await auth.logout({});
    await open(7);
    await until(() => wire.server.callsInFlight === 3);
    await auth.logout({});
    const refused = ["AuthService.Login", "RESOURCE_EXHAUSTED"];
    const served = ["AuthService.Logout", "OK"];
    expect(wire.finished).toEqual([refused, served, refused, served]);
    // Streams 1 and then 5 gave way: 3 has its message, and 7 is the newest.
    await goOn(7);
    await until(() => running === 2);
    gate.resolve();
    await until(() => wire.finished.length === 6);
    expect(wire.finished.slice(4)).toEqual(Array(2).fill(["AuthService.Login", "OK"]));
  });

  it("gives way when incomplete messages exceed their bound in bytes, so that they do not fill the memory", async () => {
    const deps = { maxWaitingBytes: 13_000 };
    const { auth } = await start({ auth: { login: async () => ({}) }, deps });
    using slow = await connectRaw(wire.port);
    // An unknown field fills the message: tag 15 and two bytes of length.
    const message = grpcMessage(Buffer.concat([Buffer.from([0x7a, 0xc0, 0x3e]), Buffer.alloc(8000)]));
    const [half, rest] = [message.subarray(0, 4500), message.subarray(4500)];
    const sendHalf = (id: number) =>
      slow.send(Buffer.concat([frame(HEADERS, END_HEADERS, id, grpcHead(LOGIN)), frame(DATA, 0, id, half)]));
    for (const id of [1, 3]) await sendHalf(id);
    await until(() => wire.server.callsInFlight === 2);
    await expect(auth.login({})).resolves.toBeDefined();
    await sendHalf(5);
    await until(() => wire.finished.length === 2);
    expect(wire.finished[1]).toEqual(["AuthService.Login", "RESOURCE_EXHAUSTED"]);
    expect(wire.server.sheds).toMatchObject({ calls: 0, message_bytes: 1 });
    for (const id of [3, 5]) await slow.send(frame(DATA, END_STREAM, id, rest));
    await until(() => wire.finished.length === 4);
    expect(wire.finished.slice(2)).toEqual(Array(2).fill(["AuthService.Login", "OK"]));
    // Calls that have ended no longer count.
    for (const id of [7, 9]) await sendHalf(id);
    await until(() => wire.server.callsInFlight === 2);
    await expect(auth.login({ email: "x".repeat(1000) })).resolves.toBeDefined();
    expect(wire.server.callsInFlight).toBe(2);
  });

  it("is refused while complete calls fill the capacity", async () => {
    const gate = Promise.withResolvers<void>();
    let running = 0;
    const { auth } = await start({
      auth: {
        login: async () => {
          running++;
          await gate.promise;
          return {};
        },
      },
      deps: { maxCalls: 2 },
    });
    const pending = [auth.login({}), auth.login({})];
    await until(() => running === 2);
    using slow = await connectRaw(wire.port);
    await slow.send(frame(HEADERS, END_HEADERS, 1, grpcHead(LOGIN)));
    await until(() => wire.finished.length > 0);
    expect(wire.finished).toEqual([["AuthService.Login", "RESOURCE_EXHAUSTED"]]);
    gate.resolve();
    await Promise.all(pending);
  });
});

it("streams that anyone may open fill at most a tenth of the capacity, and calls use the rest", async () => {
  const { auth, health } = await start({ auth: { login: async () => ({}) }, deps: { maxCalls: 20 } });
  let given = new AbortController();
  const watch = () => health.watch({}, { signal: given.signal })[Symbol.asyncIterator]();
  const watches = [watch(), watch()];
  await Promise.all(watches.map((each) => each.next()));
  await expect(watch().next()).rejects.toMatchObject({ code: Code.ResourceExhausted });
  await expect(auth.login({})).resolves.toBeDefined();
  // A watch that ends makes room for another.
  given.abort();
  await until(() => wire.server.callsInFlight === 0);
  given = new AbortController();
  await expect(watch().next()).resolves.toMatchObject({ done: false });
  given.abort();
});

describe("answers of 1 MiB", () => {
  const setup = { auth: { login: async () => ({ user: { displayName: "x".repeat(1024 * 1024) } }) } };
  const CALLS = 100;
  const calls = Buffer.concat(
    Array.from({ length: CALLS }, (_, n) =>
      Buffer.concat([
        frame(HEADERS, END_HEADERS, 2 * n + 1, grpcHead(LOGIN)),
        frame(DATA, END_STREAM, 2 * n + 1, grpcMessage(new Uint8Array())),
      ]),
    ),
  );

  it("are cut off within seconds, the oldest first, if their client does not read them and they exceed 64 MiB in total", async () => {
    await start(setup);
    using deaf = await connectRaw(wire.port, 0);
    await deaf.send(calls);
    await until(() => wire.finished.length === CALLS && (deaf.came.get(RST_STREAM) ?? 0) >= CALLS - 64);
    expect(deaf.came.get(DATA)).toBeUndefined();
    // The others go on waiting.
    expect(deaf.came.get(RST_STREAM)).toBeLessThan(CALLS - 40);
  });

  it("all arrive if their client reads them, even if many are under way at once", async () => {
    const { auth } = await start(setup);
    const answers = await Promise.all(Array.from({ length: 50 }, () => auth.login({})));
    expect(answers.map(({ user }) => user?.displayName.length)).toEqual(Array(50).fill(1024 * 1024));
  });
});
