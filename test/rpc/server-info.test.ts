import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, it } from "vitest";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { startTestService, type TestService } from "../support/in-process-service.ts";

const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));

let service: TestService;
beforeAll(async () => {
  service = await startTestService();
});
afterAll(() => service?.[Symbol.asyncDispose]());

it.each(["verify", "manage", "admin"])(
  "GetServerInfo tells a service with the scope %s the version, and when the process started",
  async (scope) => {
    const credential = scope === "admin" ? service.admin : await service.newCredential(scope);
    const ask = () => service.client(AdminService, credential).getServerInfo({});
    const first = await ask();
    expect(first.version).toBe(version);
    expect(first.startTime).toBeDefined();
    service.clock.advance(60_000);
    // It is the moment of the start, not of the call.
    expect((await ask()).startTime).toEqual(first.startTime);
  },
);
