import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { afterEach, expect, it } from "vitest";
import { ErrorInfoSchema, RetryInfoSchema } from "../../src/gen/google/rpc/error_details_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { DomainError } from "../../src/lib/errors.ts";
import type { Caller } from "../../src/rpc/call.ts";
import { type FrontDoor, type FrontDoorSetup, startFrontDoor } from "../support/front-door.ts";
import { until } from "../support/until.ts";

let wire: FrontDoor;
afterEach(() => wire.server.stop());

async function start(setup: FrontDoorSetup) {
  wire = await startFrontDoor(setup);
  const transport = createGrpcTransport({ baseUrl: `http://${wire.address}` });
  return { auth: createClient(AuthService, transport), keys: createClient(KeyService, transport) };
}

const SERVICE: Caller = { kind: "service", credentialId: "svc_1", scopes: ["verify"] };

it("a stream ends before the next message once its caller's credential has ended", async () => {
  let isEnded = false;
  const next = Promise.withResolvers<void>();
  const { keys } = await start({
    keys: {
      async *watchRevocations() {
        yield { cursor: "1" };
        await next.promise;
        yield { cursor: "2" };
      },
    },
    deps: {
      resolveCaller: async () => {
        if (isEnded) throw new DomainError("CREDENTIAL_INVALID", "the credential has ended");
        return SERVICE;
      },
    },
  });
  const messages = keys.watchRevocations({})[Symbol.asyncIterator]();
  expect((await messages.next()).value?.cursor).toBe("1");
  isEnded = true;
  next.resolve();
  expect(await messages.next().catch(ConnectError.from)).toMatchObject({ code: Code.Unauthenticated });
});

it("a call fails as UNAVAILABLE, not UNAUTHENTICATED, while its credential's record is unreachable", async () => {
  const { keys } = await start({
    deps: { resolveCaller: () => Promise.reject(new DomainError("DATABASE_UNAVAILABLE", "out of reach")) },
  });
  expect(await keys.verifyKey({}).catch(ConnectError.from)).toMatchObject({ code: Code.Unavailable });
});

it("a method that anyone may call ignores the credential", async () => {
  const { auth } = await start({
    auth: { login: async () => ({}) },
    deps: { resolveCaller: () => Promise.reject(new Error("asked")) },
  });
  await expect(auth.login({}, { headers: { authorization: "Bearer stale" } })).resolves.toBeDefined();
});

it("a call above the maximum is refused, and the next one is served after another has ended", async () => {
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
    deps: { maxCalls: 2 },
  });
  const pending = [auth.login({}), auth.login({})];
  await until(() => running === 2);
  const error = await auth.logout({}).then(() => expect.unreachable(), ConnectError.from);
  expect(error.code).toBe(Code.ResourceExhausted);
  expect(error.findDetails(ErrorInfoSchema)).toMatchObject([{ reason: "OVERLOADED" }]);
  expect(error.findDetails(RetryInfoSchema)).toHaveLength(1);
  gate.resolve();
  await Promise.all(pending);
  await expect(auth.logout({})).resolves.toBeDefined();
});

it.each(["gRPC", "Connect"])(
  "an answer that can't be encoded becomes INTERNAL over %s, quotes nothing, and is logged",
  async (protocol) => {
    await start({ auth: { login: async () => ({ user: { state: 1.5 as never } }) } });
    const baseUrl = `http://${wire.address}`;
    const transport =
      protocol === "gRPC" ? createGrpcTransport({ baseUrl }) : createConnectTransport({ baseUrl, httpVersion: "1.1" });
    const error = await createClient(AuthService, transport)
      .login({})
      .then(() => expect.unreachable(), ConnectError.from);
    expect([error.code, error.rawMessage]).toEqual([Code.Internal, "internal error"]);
    expect(error.findDetails(ErrorInfoSchema)).toMatchObject([{ reason: "INTERNAL" }]);
    expect(wire.log.filter(({ level }) => level === "error")).toHaveLength(1);
  },
);

it("a handler that throws before it returns a promise fails its call with that error", async () => {
  const { auth } = await start({
    auth: {
      login: () => {
        throw new DomainError("LOGIN_FAILED", "no");
      },
    },
  });
  expect(await auth.login({}).catch(ConnectError.from)).toMatchObject({ code: Code.Unauthenticated, rawMessage: "no" });
});

it("an error text with characters beyond ASCII arrives as it was written", async () => {
  const { auth } = await start({
    auth: { login: () => Promise.reject(new DomainError("LOGIN_FAILED", "größer als 100 % – 漢字")) },
  });
  expect(await auth.login({}).catch(ConnectError.from)).toMatchObject({ rawMessage: "größer als 100 % – 漢字" });
});
