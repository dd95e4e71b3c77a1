/** The REST lane beside Envoy's JSON transcoder, on the same contract and the same service. */
import { isDeepStrictEqual } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ENVOY } from "./envoy-process.ts";
import { type RunningService, startRunningService } from "./running-service.ts";
import { hasTools } from "./tools.ts";
import { startTranscoder } from "./transcoder.ts";
import { DIFFERENCES } from "./transcoder-differences.ts";
import { HEADERS, METHODS, PATHS, QUERIES } from "./transcoder-odd-requests.ts";
import { BODIES, EACH_RPC, REFUSED } from "./transcoder-requests.ts";
import { type Answer, ask, type Row, type Side, sideOf } from "./transcoder-sides.ts";

/** In this order, because a body that only one side takes leaves the sides' data different. */
const GROUPS: readonly (readonly [name: string, rows: readonly Row[]])[] = [
  ["a good request for each RPC", EACH_RPC],
  ["a query", QUERIES],
  ["a path", PATHS],
  ["a method", METHODS],
  ["a header", HEADERS],
  ["a body", BODIES],
];

describe.skipIf(!hasTools(ENVOY))("the REST lane and Envoy's transcoder", () => {
  let service: RunningService;
  let transcoder: Awaited<ReturnType<typeof startTranscoder>>;
  /** The status of each answer of ours, by the name of its request. */
  const statuses = new Map<string, number>();
  let sides: readonly [ours: Side, envoys: Side];

  beforeAll(async () => {
    service = await startRunningService();
    transcoder = await startTranscoder(service.port);
    sides = [await sideOf(service, service.port, "ours"), await sideOf(service, transcoder.port, "theirs")];
  });
  afterAll(async () => {
    await transcoder?.[Symbol.asyncDispose]();
    await service?.[Symbol.asyncDispose]();
  });

  it.each(GROUPS)("answer %s alike, except where a reason is given", async (group, rows) => {
    const different: Record<string, readonly [ours: number, envoys: number]> = {};
    for (const row of rows) {
      const [ours, envoys] = await Promise.all([ask(sides[0], row), ask(sides[1], row)]);
      statuses.set(`${group}: ${row[0]}`, ours.status);
      if (!isSame(ours, envoys)) different[row[0]] = [ours.status, envoys.status];
    }
    const listed = Object.entries(DIFFERENCES[group] ?? {}).map(([name, [ours, envoys]]) => [name, [ours, envoys]]);
    expect(different).toEqual(Object.fromEntries(listed));
  });

  it("say yes where a request is good: a no to everything would be alike too", () => {
    const refused = [...statuses].filter(([name, status]) => name.startsWith("a good") && status !== 200);
    expect(refused.map(([name]) => name.split(": ")[1])).toEqual(REFUSED);
  });

  it("are asked more than a hundred requests, each with a name of its own in its group", () => {
    expect(GROUPS.flatMap(([, rows]) => rows).length).toBeGreaterThan(200);
    for (const [, rows] of GROUPS) expect(new Set(rows.map(([name]) => name)).size).toBe(rows.length);
  });
});

/** Envoy refuses some requests itself: those have a text of its own, and only the status compares. */
function isSame(ours: Answer, envoys: Answer): boolean {
  return ours.status === envoys.status && (!envoys.isOfService || isDeepStrictEqual(ours.body, envoys.body));
}
