/** The suite of a client in another language over the running service. client.go and client.py obey its commands. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { clientOf } from "../support/clients.ts";
import { type FaultProxy, startFaultProxy } from "../support/fault-proxy.ts";
import type { IssuedKey } from "../support/spawned-service.ts";
import { until } from "../support/until.ts";
import type { Command, DrivenClient } from "./driven-client.ts";
import type { RunningService } from "./running-service.ts";

// Numbers of gRPC codes.
const [INVALID_ARGUMENT, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, UNAVAILABLE, UNAUTHENTICATED] = [3, 4, 8, 14, 16];
/** A client's first PING frame (RFC 9113, 6.7): length 8, type 6, no flags, stream 0. */
const PING = Buffer.from([0, 0, 8, 6, 0, 0, 0, 0, 0]);

/** The suite of one language. `start` starts its program, `service` is the service that it calls. */
export function languageContract(service: () => RunningService, start: () => DrivenClient): void {
  let client: DrivenClient;
  let keys: readonly IssuedKey[];
  // The tests cut the first, and leave the second alone.
  let cutting: FaultProxy;
  let idle: FaultProxy;

  beforeAll(async () => {
    client = start();
    [cutting, idle] = await Promise.all([startFaultProxy(service().port), startFaultProxy(service().port, true)]);
    keys = await service().issue(6);
  });
  afterAll(async () => {
    await client[Symbol.asyncDispose]();
    await Promise.all([cutting.stop(), idle.stop()]);
  });

  const ask = (command: Omit<Command, "address" | "credential"> & { credential?: string }, proxy = cutting) =>
    client.ask({ address: `127.0.0.1:${proxy.port}`, credential: service().verifier, ...command });
  const revoke = ({ id }: IssuedKey) =>
    clientOf(service().address, KeyService, service().admin).revokeKey({ keyId: id });
  const changesOf = ({ id }: IssuedKey, since: number) =>
    client.events.slice(since).flatMap(({ changes = [] }) => changes.filter(({ subjectId }) => subjectId === id));
  const isTold = (key: IssuedKey, since = 0) =>
    until(() => changesOf(key, since).length > 0, `the stream tells of ${key.id}`);
  /** Waits until the stream has ended after its first `since` events. */
  const isCut = async (since: number) => {
    const ends = () => client.events.slice(since).filter(({ event }) => event === "end");
    await until(() => ends().length > 0, "the stream has ended");
    expect(ends()[0]).toMatchObject({ resumes: true, error: { code: UNAVAILABLE } });
  };

  it("has keys judged, one and many", async () => {
    const [good] = keys as [IssuedKey];
    const valid = { valid: true, verdict: "VERDICT_VALID", keyId: good.id };
    expect(await ask({ do: "verify", key: good.raw })).toEqual(valid);
    expect(await ask({ do: "verify", key: good.raw }, idle)).toEqual(valid);
    const invalid = { valid: false, verdict: "VERDICT_INVALID", keyId: "" };
    expect(await ask({ do: "verify", key: `${good.raw}x` })).toEqual(invalid);
    expect(await ask({ do: "batch", keys: [good.raw, "no key"] })).toEqual({
      results: [
        { verdict: "VERDICT_VALID" },
        { verdict: "VERDICT_INVALID" },
        { error: { code: INVALID_ARGUMENT, reason: "INVALID_FIELD", domain: "latchkey", fields: ["cost"] } },
      ],
    });
  });

  it("reads the details of errors with the types of its own googleapis package", async () => {
    const [good] = keys as [IssuedKey];
    expect(await ask({ do: "verify", key: good.raw, cost: -1 })).toEqual({
      error: { code: INVALID_ARGUMENT, reason: "INVALID_FIELD", domain: "latchkey", fields: ["cost"] },
    });
    expect(await ask({ do: "verify", key: good.raw, credential: "kit_svc_wrong" })).toEqual({
      error: { code: UNAUTHENTICATED, reason: "CREDENTIAL_INVALID", domain: "latchkey" },
    });
    const attempt = { email: "grace@example.com", password: "a long and wrong phrase" };
    await clientOf(service().address, AuthService).register({ ...attempt, password: "a long and right phrase" });
    const refused = async () => (await ask({ do: "login", ...attempt })).error as { code: number };
    let last = await refused();
    while (last.code === UNAUTHENTICATED) last = await refused();
    expect(last).toEqual({
      code: RESOURCE_EXHAUSTED,
      reason: "TOO_MANY_ATTEMPTS",
      domain: "latchkey",
      retryDelayMs: expect.any(Number),
    });
    expect((last as { retryDelayMs?: number }).retryDelayMs).toBeGreaterThan(0);
  });

  it("has its deadline kept while no answer comes", async () => {
    const [good] = keys as [IssuedKey];
    cutting.hang("answers");
    const { error } = await ask({ do: "verify", key: good.raw, deadlineMs: 300 });
    expect(error).toMatchObject({ code: DEADLINE_EXCEEDED });
    await cutting.restore();
    expect(await ask({ do: "verify", key: good.raw })).toMatchObject({ valid: true });
  });

  it("resumes the stream of changes after a cut, and misses none", async () => {
    const [, before, during] = keys as [IssuedKey, IssuedKey, IssuedKey];
    client.watch({ address: `127.0.0.1:${cutting.port}`, credential: service().verifier });
    await until(() => client.events.length > 0, "the stream has begun");
    await revoke(before);
    await isTold(before);
    expect(changesOf(before, 0)[0]).toEqual({ kind: "KIND_KEY", subjectId: before.id });
    const since = client.events.length;
    await cutting.cut();
    await isCut(since);
    await revoke(during);
    await cutting.restore();
    await isTold(during, since);
    expect(client.events.slice(since).filter(({ resync }) => resync)).toEqual([]);
  });

  it("notices by keepalive that a connection is dead, and keeps an idle one alive", async () => {
    const [good, , , silent] = keys as [IssuedKey, IssuedKey, IssuedKey, IssuedKey];
    const pings = () => countOf(PING, Buffer.concat(idle.sent()));
    const pingsBefore = pings();
    cutting.hang("everything");
    const since = client.events.length;
    await revoke(silent);
    await isCut(since);
    await cutting.restore();
    await isTold(silent, since);
    await until(() => pings() > pingsBefore, "the idle connection is pinged");
    expect(await ask({ do: "verify", key: good.raw }, idle)).toMatchObject({ valid: true });
    expect(idle.accepted()).toBe(1);
  });

  it("goes on after a restart of the service", async () => {
    const [good, , , , after] = keys as [IssuedKey, IssuedKey, IssuedKey, IssuedKey, IssuedKey];
    const since = client.events.length;
    await service().restart();
    await isCut(since);
    expect(await ask({ do: "verify", key: good.raw })).toMatchObject({ valid: true });
    expect(await ask({ do: "verify", key: good.raw }, idle)).toMatchObject({ valid: true });
    await revoke(after);
    await isTold(after, since);
  });
}

function countOf(part: Buffer, whole: Buffer): number {
  let count = 0;
  for (let at = whole.indexOf(part); at >= 0; at = whole.indexOf(part, at + 1)) count++;
  return count;
}
