import type { JsonObject } from "@bufbuild/protobuf";
import {
  HealthCheckResponse_ServingStatusSchema,
  HealthCheckResponse_ServingStatus as Serving,
  type WatchRevocationsResponse,
} from "@latchkey/client/contract";
import { EXIT } from "../exit-codes.ts";
import type { Invocation } from "../invocation.ts";
import { type Cell, enumName } from "../result.ts";
import { lengthText, msOf } from "../times.ts";
import { verb } from "../verb.ts";

const WAIT_MS = 5000;
/** Zero cost: this reads one window, and counts nothing. */
const PROBE = {
  subject: { case: "name" as const, value: "latchkey status" },
  ...{ cost: 0, limits: [{ name: "status", perMinute: 1 }] },
};

/** Whether the service answers, and what its answers rest on. */
export const status = verb({
  name: "status",
  about: "Show whether the service is reachable and healthy",
  more: "Whether its data are fresh, and whether its processes count limits together, needs a credential with the scope verify. A service that is not serving ends with exit code 3.",
  examples: ["status", "status --address https://auth.example.com --json"],
  flags: {},
  async run(invocation) {
    const { settings, connection } = invocation;
    const sinceMs = performance.now();
    const { status: health } = await connection.health.check(
      { service: "" },
      { timeoutMs: WAIT_MS, ...invocation.call },
    );
    const answeredMs = Math.round(performance.now() - sinceMs);
    const isServing = health === Serving.SERVING;
    const known = settings.credential === undefined ? undefined : await factsOf(invocation);
    const json: JsonObject = {
      ...{
        address: settings.address,
        reachable: true,
        answeredMs,
        health: enumName(HealthCheckResponse_ServingStatusSchema, health),
      },
      ...(settings.credential !== undefined && { credential: settings.credential.from }),
      ...known?.json,
    };
    const fields: (readonly [string, Cell])[] = [
      ["address", `${settings.address}, from ${settings.addressFrom}`],
      ["reachable", { text: `yes, in ${answeredMs} ms`, style: "good" }],
      ["health", isServing ? { text: "serving", style: "good" } : { text: "not serving", style: "bad" }],
      ["credential", settings.credential === undefined ? "none, so nothing more is known" : settings.credential.from],
      ...(known?.fields ?? []),
    ];
    return { kind: "answer", json, quiet: undefined, fields, exitCode: isServing ? EXIT.OK : EXIT.UNREACHABLE };
  },
});

interface Facts {
  readonly json: JsonObject;
  readonly fields: readonly (readonly [string, Cell])[];
}

async function factsOf(invocation: Invocation): Promise<Facts> {
  const { keys, call } = invocation;
  const { degraded } = await keys.checkRateLimit(PROBE, { timeoutMs: WAIT_MS, ...call });
  const told = await firstMessage(invocation);
  const ageMs = told?.asOfTime && told.serveTime ? Math.max(0, msOf(told.serveTime) - msOf(told.asOfTime)) : undefined;
  const freshness: Cell =
    ageMs === undefined
      ? { text: "unknown: the database is unreachable", style: "bad" }
      : { text: `changes are known up to ${ageMs < 1000 ? `${ageMs} ms` : lengthText(ageMs)} ago`, style: "good" };
  const limiter: Cell = degraded
    ? { text: "each process counts alone: the shared counters are unreachable", style: "bad" }
    : { text: "counts", style: "good" };
  return {
    json: { limits: degraded ? "DEGRADED" : "OK", ...(ageMs !== undefined && { freshnessAgeMs: ageMs }) },
    fields: [
      ["freshness", freshness],
      ["limits", limiter],
    ],
  };
}

/** The first message of the stream of changes that tells of a poll; undefined if none comes in time. */
async function firstMessage({ keys, io }: Invocation): Promise<WatchRevocationsResponse | undefined> {
  const late = AbortSignal.timeout(WAIT_MS);
  try {
    for await (const message of keys.watchRevocations({}, { signal: AbortSignal.any([io.signal, late]) })) {
      if (message.asOfTime !== undefined) return message;
    }
  } catch (error) {
    if (!late.aborted) throw error;
  }
  return undefined;
}
