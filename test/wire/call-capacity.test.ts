/** A caller that takes all the calls or streams of a process: the process still serves the others. */
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterEach, describe, expect, it } from "vitest";
import { Health } from "../../src/gen/grpc/health/v1/health_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import type { Caller } from "../../src/rpc/call.ts";
import { type FrontDoor, startFrontDoor } from "../support/front-door.ts";
import { until } from "../support/until.ts";

let wire: FrontDoor;
let given = new AbortController();
afterEach(async () => {
  given.abort();
  await wire.server.stop();
  given = new AbortController();
});

/** A server whose Refresh hangs, as with a frozen database. The header `x-from` stands for the client's address. */
async function start(maxCalls: number) {
  const hang = () => new Promise<never>((_, reject) => given.signal.addEventListener("abort", reject));
  let hanging = 0;
  wire = await startFrontDoor({
    auth: {
      refresh: () => {
        hanging++;
        return hang().catch(() => ({}));
      },
      logout: async () => ({}),
    },
    keys: { verifyKey: async () => ({ valid: true }), getKey: () => hang().catch(() => ({})) },
    deps: {
      maxCalls,
      clientIp: (head) => head.header("x-from")[0] ?? "192.0.2.1",
      resolveCaller: async (head): Promise<Caller> => {
        const [id = ""] = head.header("authorization");
        return id.startsWith("usr")
          ? { kind: "user", userId: id, sessionId: "ses_1" }
          : { kind: "service", credentialId: id, scopes: ["verify", "manage"] };
      },
    },
  });
  const transport = createGrpcTransport({ baseUrl: `http://${wire.address}` });
  const auth = createClient(AuthService, transport);
  const keys = createClient(KeyService, transport);
  const health = createClient(Health, transport);
  /**
   * Starts calls that hang, call n from the address `from(n)`. The returned list gets the outcome of each that ends.
   */
  const hold = async (count: number, from: (at: number) => string) => {
    const outcomes: string[] = [];
    for (let at = 0; at < count; at++) {
      const before = hanging;
      auth.refresh({}, { headers: { "x-from": from(at) } }).then(
        () => outcomes.push("served"),
        (error) => outcomes.push(Code[ConnectError.from(error).code]!),
      );
      await until(() => hanging > before || outcomes.length > 0);
    }
    return outcomes;
  };
  return { auth, keys, health, hold };
}

describe("an address whose calls hang and fill the capacity", () => {
  it("loses its own oldest call when another address calls", async () => {
    const { auth, hold } = await start(4);
    const outcomes = await hold(4, () => "192.0.2.1");
    await expect(auth.logout({}, { headers: { "x-from": "198.51.100.1" } })).resolves.toBeDefined();
    expect(outcomes).toEqual(["ResourceExhausted"]);
    expect(wire.server.sheds).toMatchObject({ calls: 1, streams: 0 });
  });

  it("is refused a further call of its own", async () => {
    const { auth, hold } = await start(4);
    const outcomes = await hold(4, () => "192.0.2.1");
    const refused = auth.logout({}, { headers: { "x-from": "192.0.2.1" } });
    expect(await refused.catch(ConnectError.from)).toMatchObject({ code: Code.ResourceExhausted });
    expect(outcomes).toEqual([]);
    expect(wire.server.sheds).toMatchObject({ calls: 1, streams: 0 });
  });

  it("takes no more capacity by calling from many addresses of its own network", async () => {
    const { auth, hold } = await start(4);
    const outcomes = await hold(4, (at) => `2001:db8:1:${at}::1`);
    await expect(auth.logout({}, { headers: { "x-from": "2001:db8:2::1" } })).resolves.toBeDefined();
    expect(outcomes).toEqual(["ResourceExhausted"]);
  });

  it("leaves verification its reserve, from however many networks it calls", async () => {
    const { keys, auth, hold } = await start(4);
    const outcomes = await hold(4, (at) => `2001:db8:${at}::1`);
    const stranger = auth.logout({}, { headers: { "x-from": "198.51.100.1" } });
    expect(await stranger.catch(ConnectError.from)).toMatchObject({ code: Code.ResourceExhausted });
    await expect(keys.verifyKey({}, { headers: { authorization: "svc_1" } })).resolves.toMatchObject({ valid: true });
    expect(outcomes).toEqual([]);
  });
});

it("a user whose calls fill the capacity loses the oldest one when a service calls", async () => {
  const { keys } = await start(10);
  const outcomes: string[] = [];
  for (let at = 0; at < 10; at++) {
    keys.getKey({}, { headers: { authorization: "usr_1" } }).then(
      () => outcomes.push("served"),
      (error) => outcomes.push(Code[ConnectError.from(error).code]!),
    );
    await until(() => wire.server.callsInFlight === at + 1);
  }
  keys.getKey({}, { headers: { authorization: "svc_2" } }).catch(() => {});
  await until(() => outcomes.length === 1);
  expect(outcomes).toEqual(["ResourceExhausted"]);
});

it("an address that holds all the streams of strangers loses its oldest watch of health when another address watches", async () => {
  const { health } = await start(20);
  const watch = (from: string) =>
    health.watch({}, { headers: { "x-from": from }, signal: given.signal })[Symbol.asyncIterator]();
  const strangers = [watch("192.0.2.1"), watch("192.0.2.1")];
  for (const stream of strangers) await stream.next();
  await expect(watch("192.0.2.1").next()).rejects.toMatchObject({ code: Code.ResourceExhausted });
  await expect(watch("198.51.100.1").next()).resolves.toMatchObject({ done: false });
  await expect(strangers[0]!.next()).rejects.toMatchObject({ code: Code.ResourceExhausted });
  expect(wire.server.sheds).toMatchObject({ calls: 0, streams: 2 });
});
