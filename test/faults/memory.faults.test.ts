/** The secrets that a process keeps in memory after a call: the test looks for them in a snapshot of its heap. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { startFleet } from "../support/fleet.ts";
import { heapSnapshot } from "../support/heap.ts";
import { clientOf } from "../support/in-process-service.ts";
import type { Cast, IssuedKey, ReadyService } from "../support/spawned-service.ts";

const CALLS = 5;

describe("while the connections of earlier calls are open", () => {
  let service: ReadyService;
  let cast: Cast;
  let key: IssuedKey;
  const verifier = () => clientOf(service.address, KeyService, cast.verifier);

  beforeAll(async () => {
    const fleet = await startFleet({}, [{}], ["--inspect=127.0.0.1:0"]);
    service = fleet.service;
    cast = await fleet.cast();
    [key] = (await cast.issue(1)) as [IssuedKey];
    const owner = clientOf(service.address, AuthService, cast.ownerToken);
    for (let n = 0; n < CALLS; n++) {
      expect((await verifier().verifyKey({ apiKey: key.raw })).valid).toBe(true);
      await owner.getCurrentUser({});
    }
  });
  afterAll(() => service?.stop());

  const secrets = () => ({ credential: cast.verifier, "API key": key.raw, "access token": cast.ownerToken });
  const found = (snapshot: string) =>
    Object.entries(secrets()).flatMap(([name, secret]) => (snapshot.includes(secret) ? [name] : []));

  it("the process keeps no credential, API key or access token in memory", async () => {
    const snapshot = await heapSnapshot(service);
    expect(snapshot, "the control: it has the texts of a heap").toContain("latchkey.v1.KeyService");
    expect(found(snapshot)).toEqual([]);
  });

  it("the snapshot shows a credential while a call with it is under way: the control", async () => {
    const controller = new AbortController();
    const watch = verifier().watchRevocations({}, { signal: controller.signal })[Symbol.asyncIterator]();
    await watch.next();
    expect(found(await heapSnapshot(service))).toEqual(["credential"]);
    controller.abort();
    await expect(watch.next()).rejects.toThrow();
  });
});
