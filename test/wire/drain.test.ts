import { once } from "node:events";
import { Agent, request as httpRequest } from "node:http";
import { connect, constants } from "node:http2";
import { connect as connectTcp } from "node:net";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { credentials, Client as GrpcClient } from "@grpc/grpc-js";
import { expect, it } from "vitest";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { systemClock } from "../../src/lib/clock.ts";
import { callGrpc, type FrontDoor, type FrontDoorSetup, startFrontDoor } from "../support/front-door.ts";
import { until } from "../support/until.ts";

/** A server whose Login waits until the test opens the gate. */
async function startGated(options: FrontDoorSetup["options"] = {}) {
  const gate = Promise.withResolvers<void>();
  const state = { started: 0 };
  const wire = await startFrontDoor({
    auth: {
      login: async ({ email }) => {
        state.started++;
        await gate.promise;
        return { user: { email } };
      },
    },
    keys: {
      async *watchRevocations(_request, { signal }) {
        yield { cursor: "c1" };
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
      },
    },
    options,
  });
  return { wire, state, open: () => gate.resolve() };
}

const isRefused = (wire: FrontDoor) =>
  fetch(`http://${wire.address}/`).then(
    () => false,
    () => true,
  );

it.each(["1.1", "2"] as const)(
  "a call in flight over HTTP/%s succeeds while the server accepts no new connection",
  async (httpVersion) => {
    const { wire, state, open } = await startGated();
    const transport = createConnectTransport({ baseUrl: `http://${wire.address}`, httpVersion });
    const pending = createClient(AuthService, transport).login({ email: "ann" });
    await until(() => state.started === 1);
    const stopped = wire.server.stop();
    expect(await isRefused(wire)).toBe(true);
    open();
    expect((await pending).user?.email).toBe("ann");
    await stopped;
  },
);

it("a call that crosses the GOAWAY on its way is refused as never begun, and an earlier call succeeds", async () => {
  const { wire, state, open } = await startGated();
  const session = connect(`http://${wire.address}`);
  const login = () => {
    const stream = session.request({
      ":method": "POST",
      ":path": "/latchkey.v1.AuthService/Login",
      "content-type": "application/grpc",
    });
    stream.end(Buffer.from([0, 0, 0, 0, 0]));
    stream.resume();
    return new Promise<string>((resolve) => {
      stream.on("trailers", (trailers) => resolve(`status ${trailers["grpc-status"]}`));
      stream.on("error", () => resolve(`reset ${stream.rstCode}`));
    });
  };
  const first = login();
  await until(() => state.started === 1);
  const stopped = wire.server.stop();
  // The client has not read the GOAWAY yet.
  const second = login();
  expect(await second).toBe(`reset ${constants.NGHTTP2_REFUSED_STREAM}`);
  open();
  expect(await first).toBe("status 0");
  await stopped;
  expect(state.started).toBe(1);
});

it("no call of a gRPC client that honours GOAWAY fails when one of two servers stops under load", async () => {
  const answer = { auth: { login: async ({ email }: { email: string }) => ({ user: { email } }) } };
  const [going, staying] = [await startFrontDoor(answer), await startFrontDoor(answer)];
  const client = new GrpcClient(`ipv4:${going.address},${staying.address}`, credentials.createInsecure(), {
    "grpc.service_config": JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }] }),
  });
  let isOver = false;
  let calls = 0;
  const failures: unknown[] = [];
  const worker = async () => {
    while (!isOver) {
      await callGrpc(client, AuthService.method.login, { email: "x" }).catch((error) => failures.push(error));
      calls++;
    }
  };
  const workers = Array.from({ length: 16 }, worker);
  await until(() => going.finished.length > 50 && staying.finished.length > 50);
  await going.server.stop();
  const callsThen = calls;
  await until(() => calls > callsThen + 100);
  isOver = true;
  await Promise.all(workers);
  expect(failures).toEqual([]);
  client.close();
  await staying.server.stop();
});

it("streams end with UNAVAILABLE immediately, long before the drain is over", async () => {
  const { wire } = await startGated({ drainMs: 60_000 });
  const client = createClient(KeyService, createGrpcTransport({ baseUrl: `http://${wire.address}` }));
  const messages = client
    .watchRevocations({}, { headers: { authorization: "Bearer service" } })
    [Symbol.asyncIterator]();
  expect((await messages.next()).value?.cursor).toBe("c1");
  const stopped = wire.server.stop();
  expect(await messages.next().catch(ConnectError.from)).toMatchObject({ code: Code.Unavailable });
  await stopped;
});

it("a call that outlasts the drain is answered with UNAVAILABLE, and then the stop is complete", async () => {
  const { wire, state } = await startGated({ drainMs: 100 });
  const client = createClient(AuthService, createGrpcTransport({ baseUrl: `http://${wire.address}` }));
  const pending = client.login({}).catch(ConnectError.from);
  await until(() => state.started === 1);
  const startMs = systemClock.monotonicMs();
  await wire.server.stop();
  expect(systemClock.monotonicMs() - startMs).toBeLessThan(2000);
  expect(await pending).toMatchObject({ code: Code.Unavailable });
});

it("idle connections don't delay the stop, and a second stop changes nothing", async () => {
  const { wire } = await startGated({ drainMs: 60_000 });
  const agent = new Agent({ keepAlive: true });
  await new Promise((resolve) =>
    httpRequest(`http://${wire.address}/`, { agent }, (response) => response.resume().on("end", resolve)).end(),
  );
  const session = connect(`http://${wire.address}`);
  await new Promise((resolve) => session.once("remoteSettings", resolve));
  await Promise.all([wire.server.stop(), wire.server.stop()]);
  agent.destroy();
});

it("a client that never closes its side delays the stop for a moment only", async () => {
  const { wire } = await startGated({ drainMs: 10_000 });
  const [host, port] = wire.address.split(":") as [string, string];
  const socket = connectTcp({ host, port: Number(port), allowHalfOpen: true });
  const ended = once(socket, "end");
  socket.on("error", () => {}).resume();
  // The preface of HTTP/2 and an empty SETTINGS frame.
  socket.write(
    Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0])]),
  );
  await once(socket, "data");
  const startMs = performance.now();
  const stopped = wire.server.stop();
  // The server has closed its side, and the client's side stays open.
  await ended;
  expect(socket.writable).toBe(true);
  await stopped;
  expect(performance.now() - startMs).toBeLessThan(5000);
  socket.destroy();
});
