/**
 * The cost of many keys that are not in memory. The test counts it in PostgreSQL's own log and in the heap of the
 * real process.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Freshness_Source, KeyService, Verdict } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { checksum62 } from "../../src/lib/base62.ts";
import { randomBase62 } from "../../src/lib/random.ts";
import { startFleet } from "../support/fleet.ts";
import { heapBytes } from "../support/heap.ts";
import { clientOf } from "../support/in-process-service.ts";
import { answerTo, report, tally } from "../support/measurements.ts";
import { type PostgresServer, startPostgres } from "../support/own-postgres.ts";
import { canStart } from "../support/shared-servers.ts";
import type { Cast, IssuedKey, ReadyService } from "../support/spawned-service.ts";

const CONNECTIONS = 10;
const CALLERS = 1000;
const BATCH = 256;
/** Number of malformed keys, and of unknown keys beyond the first 10,000. */
const KEYS = 20_000;
/** Maximum unknown keys that a process remembers as absent (negative cache). */
const ABSENCES = 10_000;

describe.skipIf(!canStart("postgres"))("keys that are not in memory", () => {
  let postgres: PostgresServer;
  let service: ReadyService;
  let cast: Cast;
  let clients: readonly ReturnType<typeof keyService>[];
  const keyService = () => clientOf(service.address, KeyService, cast.verifier);

  beforeAll(async () => {
    postgres = await startPostgres();
    // PostgreSQL logs each statement on a line that begins with the application name.
    await postgres.sql("alter system set log_line_prefix = '%a|'");
    await postgres.sql("alter system set log_statement = 'all'");
    await postgres.sql("select pg_reload_conf()");
    const fleet = await startFleet(
      { DATABASE_URL: postgres.url(), LATCHKEY_KEYS_PER_OWNER: "1000" },
      [{}],
      ["--inspect=127.0.0.1:0"],
    );
    service = fleet.service;
    cast = await fleet.cast();
    clients = Array.from({ length: CONNECTIONS }, keyService);
    // The first call reads the verifier's own credential.
    for (const client of clients) await client.verifyKey({ apiKey: "junk" });
  });
  afterAll(async () => {
    await service?.stop();
    await postgres?.stop();
  });

  const ask = (n: number, apiKey: string) => answerTo(() => clients[n % CONNECTIONS]!.verifyKey({ apiKey, cost: 0 }));

  /** Number of statements that PostgreSQL has run so far on the connections for hot reads. */
  async function hotReads(): Promise<number> {
    const folder = await postgres.sql("show data_directory");
    const log = readFileSync(join(folder, "..", "postgres.log"), "utf8");
    return log.split("\n").filter((line) => /^latchkey-reads\|LOG: {2}(execute|statement)/.test(line)).length;
  }

  /** Verifies all keys in batches. Returns the number of invalid ones. */
  async function askBatches(keys: readonly string[]): Promise<number> {
    let invalid = 0;
    for (let from = 0; from < keys.length; from += BATCH) {
      const requests = keys.slice(from, from + BATCH).map((apiKey) => ({ apiKey, cost: 0 }));
      const { results } = await clients[0]!.batchVerifyKeys({ requests });
      for (const { outcome } of results) {
        if (outcome.case === "response" && outcome.value.verdict === Verdict.INVALID) invalid++;
      }
    }
    return invalid;
  }

  it("1,000 callers of one key at once cost one read", async () => {
    const [one, ...others] = await cast.issue(11);
    const before = await hotReads();
    const answers = await Promise.all(Array.from({ length: CALLERS }, (_, n) => ask(n, one!.raw)));
    expect(tally(answers)).toEqual({ VALID: CALLERS });
    expect((await hotReads()) - before).toBe(1);
    report(
      "1,000 callers of one cold key",
      answers.map(({ tookMs }) => tookMs),
    );
    // The control: the log shows one read for each key that no call has asked for before.
    for (const [n, key] of others.entries()) expect((await ask(n, key.raw)).said).toBe("VALID");
    expect((await hotReads()) - before).toBe(1 + others.length);
  });

  it("400 keys at once are all answered, by fewer than 100 reads", async () => {
    const keys = await cast.issue(400);
    const before = await hotReads();
    const answers = await Promise.all(keys.map((key, n) => ask(n, key.raw)));
    expect(tally(answers)).toEqual({ VALID: keys.length });
    expect(answers.map(({ response }) => response?.key?.id)).toEqual(keys.map(({ id }) => id));
    const reads = (await hotReads()) - before;
    expect(reads).toBeGreaterThan(0);
    expect(reads).toBeLessThan(keys.length / 4);
    report(
      `400 cold keys by ${reads} reads`,
      answers.map(({ tookMs }) => tookMs),
    );
  });

  it(`${KEYS} malformed keys cost no read`, async () => {
    const before = await hotReads();
    const keys = malformedKeys(KEYS);
    expect(await askBatches(keys)).toBe(KEYS);
    const single = await Promise.all(keys.slice(0, CALLERS).map((key, n) => ask(n, key)));
    expect(tally(single)).toEqual({ INVALID: CALLERS });
    expect((await hotReads()) - before).toBe(0);
    // The control: the service looks up a key of good form.
    expect((await ask(0, wellFormedKey())).said).toBe("INVALID");
    expect((await hotReads()) - before).toBe(1);
  });

  it(`of ${KEYS} unknown keys of good form at most ${ABSENCES} are remembered, and good keys stay in memory`, async () => {
    const good = await cast.issue(50);
    for (const [n, key] of good.entries()) expect((await ask(n, key.raw)).said).toBe("VALID");
    const reads = await hotReads();
    const empty = await heapBytes(service);
    expect(await askBatches(unknownKeys(ABSENCES))).toBe(ABSENCES);
    const full = await heapBytes(service);
    expect(await askBatches(unknownKeys(KEYS))).toBe(KEYS);
    const later = await heapBytes(service);
    // The control: the first 10,000 make the heap grow. The bound: 20,000 more hardly do.
    expect(full - empty).toBeGreaterThan(1_000_000);
    expect(later - full).toBeLessThan((full - empty) / 2);
    // The fault happened: the service read each batch from the database.
    expect((await hotReads()) - reads).toBeGreaterThanOrEqual(Math.floor((ABSENCES + KEYS) / BATCH));
    await expectInMemory(good);
  });

  async function expectInMemory(keys: readonly IssuedKey[]): Promise<void> {
    const before = await hotReads();
    for (const [n, key] of keys.entries()) {
      const { said, response } = await ask(n, key.raw);
      expect([said, response?.freshness?.source]).toEqual(["VALID", Freshness_Source.CACHE]);
    }
    expect((await hotReads()) - before).toBe(0);
  }
});

/** A key with a valid prefix, environment, id, secret and checksum: only the database can tell that it is unknown. */
function wellFormedKey(): string {
  const unchecked = `kit_live_${randomBase62(16 + 43)}`;
  return unchecked + checksum62(unchecked);
}

function unknownKeys(count: number): readonly string[] {
  return Array.from({ length: count }, wellFormedKey);
}

/** Malformed keys, in seven ways by turns. */
function malformedKeys(count: number): readonly string[] {
  const ways: readonly ((key: string) => string)[] = [
    (key) => key.slice(0, -1),
    (key) => `${key}a`,
    (key) => `${key.slice(0, -1)}${key.endsWith("a") ? "b" : "a"}`,
    (key) => key.replace("kit_", "kat_"),
    (key) => key.replace("_live_", "_dead_"),
    (key) => `Bearer ${key}`,
    (key) => key.toUpperCase(),
  ];
  return Array.from({ length: count }, (_, n) => ways[n % ways.length]!(wellFormedKey()));
}
