import type { JsonObject } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  HealthCheckResponse_ServingStatusSchema,
  HealthCheckResponse_ServingStatus as Serving,
  type WatchRevocationsResponse,
} from "@latchkey/client/contract";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { faultOf } from "../faults.ts";
import type { Invocation } from "../invocation.ts";
import { type Cell, enumName } from "../result.ts";
import { isoOf, lengthText, msOf, relative } from "../times.ts";
import { verb } from "../verb.ts";
import { version } from "../version.ts";

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
  more: "With a service credential also its version, and with the scope verify how fresh its data are and how it counts. It ends with 3 if the service or its database is unreachable.",
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
      ...{ command: version(), address: settings.address, reachable: true, answeredMs },
      health: enumName(HealthCheckResponse_ServingStatusSchema, health),
      ...(settings.credential !== undefined && { credential: settings.credential.from }),
      ...known?.json,
    };
    const fields: (readonly [string, Cell])[] = [
      ["command", `latchkey ${version()}`],
      ["address", `${settings.address}, from ${settings.addressFrom}`],
      ["reachable", { text: `yes, in ${answeredMs} ms`, style: "good" }],
      ["health", isServing ? { text: "serving", style: "good" } : { text: "not serving", style: "bad" }],
      ["credential", settings.credential === undefined ? "none, so nothing more is known" : settings.credential.from],
      ...(known?.fields ?? []),
    ];
    return { kind: "answer", json, fields, exitCode: isServing ? (known?.exitCode ?? EXIT.OK) : EXIT.UNREACHABLE };
  },
});

/** The facts that need a credential. */
interface Facts {
  readonly exitCode: ExitCode;
  readonly json: JsonObject;
  readonly fields: readonly (readonly [string, Cell])[];
}

/** A service that answers may have no database, or refuse the credential. That is part of its status. */
async function factsOf(invocation: Invocation): Promise<Facts> {
  const server = await askedFor(invocation, serverFacts);
  const answers = await askedFor(invocation, answerFacts);
  // An unreachable database or a refused credential fails both questions in the same way.
  const isSame = server.json.unknown !== undefined && server.json.unknown === answers.json.unknown;
  return {
    exitCode: answers.exitCode,
    json: { ...server.json, ...answers.json },
    fields: isSame ? answers.fields : [...server.fields, ...answers.fields],
  };
}

async function askedFor(invocation: Invocation, ask: (invocation: Invocation) => Promise<Facts>): Promise<Facts> {
  try {
    return await ask(invocation);
  } catch (error) {
    const { exitCode, message } = faultOf(error, invocation.target, invocation.io.signal.aborted);
    if (exitCode === EXIT.INTERRUPTED) throw error;
    const mayNotAsk = error instanceof ConnectError && error.code === Code.PermissionDenied;
    return {
      exitCode: mayNotAsk ? EXIT.OK : exitCode,
      json: { unknown: message },
      fields: [["the rest", { text: `unknown: ${message}`, style: mayNotAsk ? "faint" : "bad" }]],
    };
  }
}

/** The version of the process that answers. Any service credential may ask. */
async function serverFacts({ admin, call, io }: Invocation): Promise<Facts> {
  const { version, startTime } = await admin.getServerInfo({}, { timeoutMs: WAIT_MS, ...call });
  return {
    exitCode: EXIT.OK,
    json: { version, startTime: isoOf(startTime) },
    fields: [["service", `latchkey ${version}, started ${relative(io.nowMs(), startTime)}`]],
  };
}

/** Freshness and limits: the ground of the service's answers. They need the scope verify. */
async function answerFacts(invocation: Invocation): Promise<Facts> {
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
    exitCode: ageMs === undefined ? EXIT.UNREACHABLE : EXIT.OK,
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
