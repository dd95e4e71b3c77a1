/**
 * Services and users that send the dearest requests as fast as they can: batches of 256 keys, pages of the largest
 * keys, watches that are 10,000 changes behind. No turn takes long. Batches hardly slow another service's VerifyKey.
 */
import { setTimeout as pause } from "node:timers/promises";
import type { DescMethodUnary, MessageInitShape } from "@bufbuild/protobuf";
import { create, toBinary } from "@bufbuild/protobuf";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { KeyService, WatchRevocationsRequestSchema } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { checksum62 } from "../../src/lib/base62.ts";
import { bystanderOf, callSteadily } from "../support/bystander.ts";
import { clientOf } from "../support/clients.ts";
import { startFleet } from "../support/fleet.ts";
import { startFlood } from "../support/flood.ts";
import {
  type Attack,
  expectHardlySlowed,
  expectShortTurns,
  type Noticed,
  noticedBeside,
} from "../support/hardly-slowed.ts";
import { TURN_PROBE } from "../support/longest-turn.ts";
import type { Answer } from "../support/measurements.ts";
import { type PostgresServer, startPostgres } from "../support/own-postgres.ts";
import {
  connectRaw,
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  grpcHead,
  grpcMessage,
  HEADERS,
  WINDOW_UPDATE,
} from "../support/raw-http2.ts";
import { canStart, freshRedis } from "../support/shared-servers.ts";
import type { Cast, ReadyService } from "../support/spawned-service.ts";

const BATCH = 256;
const WATCHES = 100;
const CURSORS = 10;
/** Changes between two cursors. The oldest cursor is nearly as far behind as a watch may be (MAX_CHANGES_PER_POLL). */
const CHANGES = 990;
const LOOK_EVERY_MS = 5;
const WATCH_MS = 400;
const REST_MS = 1000;

describe.skipIf(!canStart("postgres") || !canStart("redis"))("a caller with a credential", () => {
  let postgres: PostgresServer;
  let service: ReadyService;
  let database: pg.Client;
  let cast: Cast;
  let verify: () => Promise<Answer>;
  let control: Noticed;
  let keys: readonly string[];
  let cursors: readonly string[];

  beforeAll(async () => {
    postgres = await startPostgres();
    const stores = { DATABASE_URL: postgres.url(), REDIS_URL: await freshRedis() };
    const fleet = await startFleet({ ...stores, LATCHKEY_KEYS_PER_OWNER: "10000" }, [{}], TURN_PROBE);
    service = fleet.service;
    verify = await bystanderOf(fleet);
    cast = await fleet.cast();
    database = new pg.Client({ connectionString: postgres.url() });
    await database.connect();
    keys = (await cast.issue(50)).map(({ raw }) => raw);
    await issueLargeKeys(300);
    cursors = await takeCursors();
    await callSteadily(verify);
    control = await noticedBeside({ service, verify }, "control", flood("verifyKey", { apiKey: keys[0]! }, 1));
  });
  afterAll(async () => {
    await database?.end();
    await service?.stop();
    await postgres?.stop();
  });

  const expectUnharmed = (what: string, attack: Attack) =>
    expectHardlySlowed({ service, verify, control }, what, attack);

  /** Copies of a key that its owner has filled up nearly to the 10 KiB that one may have. */
  async function issueLargeKeys(count: number): Promise<void> {
    const metadata = Object.fromEntries(Array.from({ length: 4 }, (_, n) => [`n${n}`, "😀".repeat(512)]));
    const { key } = await clientOf(service.address, KeyService, cast.ownerToken).issueKey({ name: "large", metadata });
    await database.query(
      `insert into api_keys
       select (jsonb_populate_record(k, jsonb_build_object('id', 'key_' || lpad(n::text, 22, '0')))).*
       from api_keys k, generate_series(1, $2::int) n where k.id = $1`,
      [key!.id, count],
    );
  }

  async function takeCursors(): Promise<readonly string[]> {
    const taken: string[] = [];
    while (taken.length < CURSORS) {
      taken.push(await presentCursor());
      await database.query(
        "insert into changes (kind, subject_id) select 'KEY', 'key_' || n from generate_series(1, $1::int) n",
        [CHANGES],
      );
    }
    return taken;
  }

  async function presentCursor(): Promise<string> {
    const over = new AbortController();
    const { signal } = over;
    for await (const { cursor } of clientOf(service.address, KeyService, cast.verifier).watchRevocations(
      {},
      { signal },
    )) {
      if (cursor === "") continue;
      over.abort();
      return cursor;
    }
    throw new Error("the watch ended");
  }

  /** Keeps calls of one method in progress. */
  function flood<M extends keyof typeof KeyService.method>(
    method: M,
    request: MessageInitShape<(typeof KeyService.method)[M]["input"]>,
    atOnce: number,
    { token = cast.verifier, restMs = 0 } = {},
  ): Attack {
    return async (isOver) => {
      const headers = { authorization: `Bearer ${token}` };
      const shape = { atOnce, restMs, headers };
      const flooding = await startFlood(
        service.address,
        KeyService.method[method] as DescMethodUnary,
        request as never,
        shape,
      );
      while (!isOver()) await pause(LOOK_EVERY_MS);
      expect(Object.keys((await flooding.stop()).counts)).not.toEqual([]);
    };
  }

  /** Opens watches with old cursors on one connection, again and again. */
  const watchBehind: Attack = async (isOver) => {
    const authorization = `Bearer ${cast.verifier}`;
    const head = grpcHead("/latchkey.v1.KeyService/WatchRevocations", { authorization });
    const window = Buffer.alloc(4);
    window.writeUInt32BE(2 ** 30);
    const watches = Array.from({ length: WATCHES }, (_, n) => {
      const request = create(WatchRevocationsRequestSchema, { cursor: cursors[n % CURSORS]! });
      const message = grpcMessage(toBinary(WatchRevocationsRequestSchema, request));
      return [frame(HEADERS, END_HEADERS, 2 * n + 1, head), frame(DATA, END_STREAM, 2 * n + 1, message)];
    });
    const bytes = Buffer.concat([frame(WINDOW_UPDATE, 0, 0, window), ...watches.flat()]);
    while (!isOver()) {
      using client = await connectRaw(Number(service.address.split(":").at(-1)), 2 ** 31 - 1);
      await client.send(bytes);
      const untilMs = performance.now() + WATCH_MS;
      while (!isOver() && performance.now() < untilMs) await pause(LOOK_EVERY_MS);
    }
  };

  const batch = (keyOf: (n: number) => string, more = {}) => ({
    requests: Array.from({ length: BATCH }, (_, n) => ({ apiKey: keyOf(n), ...more })),
  });

  it("hardly slows another one by batches of unknown keys", async () => {
    // Another id for each key, with its checksum: the form alone would refuse others without a look-up.
    const unknown = (n: number) => {
      const unchecked = `kit_live_${String(n).padStart(16, "0")}${"x".repeat(43)}`;
      return unchecked + checksum62(unchecked);
    };
    await expectUnharmed("unknown keys", flood("batchVerifyKeys", batch(unknown), 50));
  });

  it("hardly slows another one by batches of known keys", async () => {
    await expectUnharmed(
      "known keys",
      flood(
        "batchVerifyKeys",
        batch((n) => keys[n % keys.length]!),
        50,
      ),
    );
  });

  it("hardly slows another one by batches of 240 KiB", async () => {
    const large = batch((n) => keys[n % keys.length]!, { method: "x".repeat(800) });
    await expectUnharmed("240 KiB", flood("batchVerifyKeys", large, 50));
  });

  it("takes no long turn by lists of large keys, 50 at a time", async () => {
    // More at a time would end with the connection, because its unread answers are bounded.
    const owner = { token: cast.ownerToken, restMs: REST_MS };
    await expectShortTurns({ service, verify }, "lists", flood("listKeys", { pageSize: 250 }, 50, owner));
  });

  it("takes no long turn by watches that are 10,000 changes behind", async () => {
    await expectShortTurns({ service, verify }, "watches", watchBehind);
  });
});
