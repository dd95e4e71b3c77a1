import { create, toBinary } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import type { DatabaseClock } from "../../src/changes/database-clock.ts";
import { authorization } from "../../src/envoy/authorization.ts";
import { readCheckRequest } from "../../src/envoy/checked-request.ts";
import { type JudgementDeps, judgeRequest } from "../../src/envoy/judgement.ts";
import { routeSettings } from "../../src/envoy/route-settings.ts";
import { CheckRequestSchema } from "../../src/gen/envoy/service/auth/v3/external_auth_pb.ts";
import type { KeyRecord } from "../../src/keys/key-records.ts";
import { DomainError, databaseUnavailable } from "../../src/lib/errors.ts";
import { NOT_LIMITED } from "../../src/limits/limit.ts";
import { type AskedRequest, checkOf } from "../support/ext-authz.ts";
import { recordingLog } from "../support/recording-log.ts";

/** Any text: the fake records know each. */
const KEY = "kit_live_";

const databaseClock = { judge: <T>(verdict: (nowMs: number) => T) => verdict(0), at: () => 0, nowMs: () => 0 };

/** Dependencies that find this record for each key, and no person. */
function depsWith(record: Partial<KeyRecord["key"]>, more: Partial<JudgementDeps> = {}): JudgementDeps {
  const key = { id: "key_1", kind: "api", environment: "live", state: "active", scopes: [], allowedIps: [] };
  const found = {
    key: { ...key, allowedMethods: [], ...record },
    tier: "basic",
    ownLimits: [],
    isAllowedIp: () => false,
  };
  const loaded = { record: found as unknown as KeyRecord, source: "cache" as const, asOfMs: 0 };
  return {
    records: {
      fresh: () => ({ ...loaded, maxStalenessMs: 5000, position: 1n, epoch: 1n }),
      find: () => Promise.reject(databaseUnavailable()),
    },
    limiter: { decide: () => NOT_LIMITED },
    usage: { used: () => {} },
    format: { prefix: "kit", environments: ["live"] },
    databaseClock: databaseClock as unknown as DatabaseClock,
    authenticateUser: () => Promise.reject(new DomainError("CREDENTIAL_INVALID", "no such person")),
    ...more,
  };
}

function judge(deps: JudgementDeps, asked: AskedRequest) {
  const request = readCheckRequest(toBinary(CheckRequestSchema, checkOf(asked)));
  const settings = routeSettings(request.extensions);
  if ("faults" in settings) throw new Error(settings.faults.join());
  return judgeRequest(deps, request, settings);
}

const withKey = { headers: [["x-api-key", KEY]] as const };
const withToken = { headers: [["authorization", "Bearer a.b.c"]] as const, route: { "latchkey.accept": "key,user" } };

describe("a request", () => {
  it("is judged without a promise if the key is in memory", () => {
    expect(judge(depsWith({}), withKey)).toMatchObject({ decision: { admitted: true }, key: { key: { id: "key_1" } } });
  });

  it("has no decision while it can't be known who sent it: that is an error, and no refusal", async () => {
    const unknown = () => Promise.reject(databaseUnavailable());
    const deps = depsWith({}, { authenticateUser: unknown });
    await expect(judge(deps, withToken)).rejects.toMatchObject({ reason: "DATABASE_UNAVAILABLE" });
    expect(await judge(depsWith({}), withToken)).toMatchObject({ decision: { code: "TOKEN_INVALID" } });
    const door = authorization({ ...deps, clock: { monotonicMs: () => 0 }, log: recordingLog() });
    const check = door.read(toBinary(CheckRequestSchema, checkOf(withToken)));
    await expect(door.handle(check, { caller: { kind: "anonymous" } })).rejects.toMatchObject({
      reason: "DATABASE_UNAVAILABLE",
    });
  });

  it("is named by its verb unless it is a POST of gRPC", () => {
    const codeOf = (allowed: string, method: string, type: string) => {
      const headers = [
        ["x-api-key", KEY],
        ["content-type", type],
      ] as const;
      const judged = judge(depsWith({ allowedMethods: [allowed] }), { method, path: "/a.B/C", headers });
      if (judged instanceof Promise) throw new Error("the key is in memory");
      return judged.decision.admitted ? "admitted" : judged.decision.code;
    };
    expect(codeOf("GET /a.B/C", "GET", "application/grpc")).toBe("admitted");
    expect(codeOf("POST /a.B/C", "POST", "application/json")).toBe("admitted");
    expect(codeOf("POST /a.B/C", "POST", "application/grpc+proto")).toBe("METHOD_NOT_ALLOWED");
    expect(codeOf("/a.B/C", "POST", "application/grpc+proto")).toBe("admitted");
  });

  it("is refused without an address if its key has an allow-list of networks", () => {
    const deps = depsWith({ allowedIps: ["192.0.2.0/24"] });
    for (const address of ["", "not an address", "/run/envoy.sock"]) {
      expect(judge(deps, { ...withKey, address })).toMatchObject({ decision: { code: "IP_NOT_ALLOWED" } });
    }
  });
});

it("a check of no fields at all is answered", () => {
  const empty = readCheckRequest(toBinary(CheckRequestSchema, create(CheckRequestSchema)));
  const settings = routeSettings(empty.extensions);
  expect("faults" in settings).toBe(false);
  expect([empty.verb, empty.path, empty.peerAddress, empty.namesWith("")]).toEqual(["", "", "", []]);
});
