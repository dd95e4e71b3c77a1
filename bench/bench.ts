/**
 * `npm run bench`: the cost of VerifyKey, and of servers that do less, all in one run. README.md says how to read
 * it.
 *
 *   npm run bench -- --quick           half a minute: checks that all rows run and all answers are right
 *   npm run bench -- --full            six to seven minutes, for figures that are kept
 *   npm run bench -- --rate 2000       calls per second at which latency is measured; may be given several times
 *   npm run bench -- --only VerifyKey  rows whose name has this text, and the bare no-op
 *   npm run --silent bench -- --json   the report as JSON on standard output; progress goes to standard error
 *
 * The exit code is 1 if any answer was wrong.
 */
import { cpus, loadavg } from "node:os";
import { parseArgs } from "node:util";
import { hasPostgres } from "../test/support/own-postgres.ts";
import { hasRedis } from "../test/support/own-redis.ts";
import { type Beside, measureBeside } from "./beside.ts";
import { measureCachedKeys } from "./cached-keys.ts";
import { type ClientFigures, measureClients } from "./client-calls.ts";
import { type Cores, chooseCores, pin } from "./cores.ts";
import { hasH2load } from "./h2load.ts";
import { measureKeptKeys } from "./kept-keys.ts";
import { measureLimiter } from "./limiter.ts";
import { measureRows } from "./measure.ts";
import { clientRatios, ratiosOf } from "./ratios.ts";
import { callsOfTwo, FLOOR, rowsOf } from "./rows.ts";
import type { Service } from "./service.ts";
import { FULL, QUICK, USUAL } from "./sizes.ts";
import { formatReport, type Report } from "./table.ts";
import { pinAll, type Stores, startStores, startTargets, type Targets } from "./targets.ts";

const { values: flags } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    full: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
    only: { type: "string", default: "" },
    rate: { type: "string", multiple: true, default: ["1000", "5000"] },
  },
});
const size = flags.quick ? QUICK : flags.full ? FULL : USUAL;
const isH2load = hasH2load();
const startMs = performance.now();

try {
  const report = await run();
  process.stdout.write(flags.json ? `${JSON.stringify(report, null, 2)}\n` : `\n${formatReport(report)}`);
} catch (error) {
  process.stderr.write(`bench: ${(error as Error).message}\n`);
  process.exitCode = 1;
}

async function run(): Promise<Report> {
  const loadBefore = loadavg()[0]!;
  await using stack = new AsyncDisposableStack();
  sayWhatIsMissing();
  progress("starting servers, issuing keys");
  const stores = await startStores(stack);
  const targets = await startTargets(stack, stores, size.unseenKeys);
  const cores = chooseCores();
  if (cores !== undefined) pinAll(cores, stores, targets);
  const rows = rowsOf(targets).filter(({ name }) => name === FLOOR || name.includes(flags.only));
  const latencyRates = flags.rate.map(Number);
  const figures = await measureRows({ ...size, rows, redis: stores.redis, isH2load, latencyRates, progress });
  const limiter = await measureDecisions(cores, stores);
  const cachedKeys = "keys in memory".includes(flags.only) ? await measureCachedKeys(size.cachedKeys, progress) : [];
  const beside = "beside".includes(flags.only) ? await measureBesides(targets) : [];
  const clients = "clients".includes(flags.only) ? await measureClientCalls(targets) : [];
  const keptKeys = "clients".includes(flags.only) ? await measureKeptKeys(size.keptKeys, progress) : [];
  return {
    date: new Date().toISOString().slice(0, 10),
    machine: describeMachine(cores, loadBefore),
    latencyRates,
    rows: figures,
    limiter,
    cachedKeys,
    beside,
    clients,
    keptKeys,
    ratios: [...ratiosOf(figures, limiter, cachedKeys), ...clientRatios(clients, keptKeys)],
  };
}

function measureBesides(targets: Targets): Promise<readonly Beside[]> {
  const service = chosen(targets);
  const [rounds, seconds] = [size.besideRounds, size.besideSeconds];
  return measureBeside({ service, calls: callsOfTwo(service), isH2load, rounds, seconds, progress });
}

function measureClientCalls(targets: Targets): Promise<readonly ClientFigures[]> {
  const service = chosen(targets);
  const { clientRounds: rounds, warmUpCalls: warmUpVerdicts, seconds, leadSeconds } = size;
  return measureClients({ service, rounds, warmUpVerdicts, seconds, leadSeconds, progress });
}

/** The service with PostgreSQL and Redis, if they are installed. */
function chosen({ stored, embedded }: Targets): Service {
  return stored?.service ?? embedded;
}

function sayWhatIsMissing(): void {
  for (const [isHere, name] of [
    [isH2load, "h2load (nghttp2-client); a slower client in Node makes the load"],
    [hasRedis(), "redis-server; no row has limits in Redis"],
    [hasPostgres(), "PostgreSQL; keys are read from the embedded database alone"],
  ] as const) {
    if (!isHere) progress(`not installed: ${name}`);
  }
}

/** Redis and this process get a core each, because the servers under test are idle now. */
async function measureDecisions(cores: Cores | undefined, { redisServer }: Stores) {
  if (redisServer === undefined || !"limiter".includes(flags.only)) return [];
  if (cores !== undefined) pin(redisServer.pid, cores.server);
  progress("the limiter's script against 2 x INCR + EXPIRE");
  return measureLimiter({ url: redisServer.url, rounds: size.limiterRounds, calls: size.limiterCalls, progress });
}

function describeMachine(cores: Cores | undefined, loadBefore: number): string {
  const pinned = cores === undefined ? "nothing pinned" : "server and load generator pinned to a core each";
  const load = `load average ${loadBefore.toFixed(1)} before the run`;
  const generator = isH2load ? "h2load" : "client in Node";
  return `${cpus().length} cores (${cpus()[0]?.model.trim()}), ${pinned}, ${generator}, Node ${process.versions.node}, ${load}`;
}

function progress(line: string): void {
  process.stderr.write(`${((performance.now() - startMs) / 1000).toFixed(0).padStart(4)} s  ${line}\n`);
}
