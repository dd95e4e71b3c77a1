import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { afterEach, beforeEach, expect, it } from "vitest";
import { Health, HealthCheckResponse_ServingStatus as Status } from "../../src/gen/grpc/health/v1/health_pb.ts";
import { type FrontDoor, startFrontDoor } from "../support/front-door.ts";

const AUTH = "latchkey.v1.AuthService";
const KEYS = "latchkey.v1.KeyService";

let wire: FrontDoor;
beforeEach(async () => {
  wire = await startFrontDoor();
});
afterEach(() => wire.server.stop());

const clientOf = (server: FrontDoor) =>
  createClient(Health, createGrpcTransport({ baseUrl: `http://${server.address}` }));

it("check returns the status of each service and of the server to anyone", async () => {
  const client = clientOf(wire);
  wire.health.set(AUTH, "NOT_SERVING");
  expect((await client.check({ service: "" })).status).toBe(Status.SERVING);
  expect((await client.check({ service: KEYS })).status).toBe(Status.SERVING);
  expect((await client.check({ service: AUTH })).status).toBe(Status.NOT_SERVING);
  const overHttp = createConnectTransport({ baseUrl: `http://${wire.address}`, httpVersion: "1.1" });
  expect((await createClient(Health, overHttp).check({})).status).toBe(Status.SERVING);
});

it("check of an unknown service fails as NOT_FOUND", async () => {
  const error = await clientOf(wire).check({ service: "no.such.Service" }).catch(ConnectError.from);
  expect(error).toMatchObject({ code: Code.NotFound });
});

it("list returns the status of every service", async () => {
  const { statuses } = await clientOf(wire).list({});
  expect(Object.keys(statuses).sort()).toEqual(["", "latchkey.v1.AdminService", AUTH, KEYS]);
  expect(statuses[KEYS]?.status).toBe(Status.SERVING);
});

it("watch sends the status and each change, and ends after the last status of a server that stops", async () => {
  const updates = clientOf(wire).watch({ service: AUTH })[Symbol.asyncIterator]();
  const next = async () => (await updates.next()).value?.status;
  expect(await next()).toBe(Status.SERVING);
  wire.health.set(AUTH, "NOT_SERVING");
  expect(await next()).toBe(Status.NOT_SERVING);
  wire.health.set(AUTH, "SERVING");
  expect(await next()).toBe(Status.SERVING);
  const stopped = wire.server.stop();
  expect(await next()).toBe(Status.NOT_SERVING);
  expect(await updates.next().catch(ConnectError.from)).toMatchObject({ code: Code.Unavailable });
  await stopped;
});

it("watch of an unknown service says SERVICE_UNKNOWN and goes on, because the service may appear", async () => {
  const updates = clientOf(wire).watch({ service: "later" })[Symbol.asyncIterator]();
  expect((await updates.next()).value?.status).toBe(Status.SERVICE_UNKNOWN);
  wire.health.set("later", "SERVING");
  expect((await updates.next()).value?.status).toBe(Status.SERVING);
});

it("once the server stops, nothing makes it SERVING again", async () => {
  await wire.server.stop();
  wire.health.setAll("SERVING");
  expect(wire.health.get("")).toBe("NOT_SERVING");
});
