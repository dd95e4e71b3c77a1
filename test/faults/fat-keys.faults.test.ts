/** The heaviest keys that a person can make, read while they are not in memory: the real service on PostgreSQL. */
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { masterKeys } from "../../src/config/values.ts";
import { KeyService, VerdictSchema } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { type NewSecret, newSecret } from "../../src/keys/key-secret.ts";
import { KeyRing } from "../../src/lib/key-ring.ts";
import { startFleet } from "../support/fleet.ts";
import { clientOf } from "../support/in-process-service.ts";
import { answerTo, report, tally } from "../support/measurements.ts";
import { type PostgresServer, startPostgres } from "../support/own-postgres.ts";
import { canStart } from "../support/shared-servers.ts";
import type { Cast, IssuedKey, ReadyService } from "../support/spawned-service.ts";

const FORMAT = { prefix: "kit", environments: ["live"] };
const BATCH = 256;
const LIVE_SECRETS = 8;
/** Maximum secrets that a key keeps, including those that ended. */
const MOST_SECRETS = 16;
const CALLS = 20;

describe.skipIf(!canStart("postgres"))("a key of the maximum size", () => {
  let postgres: PostgresServer;
  let service: ReadyService;
  let cast: Cast;
  let ring: KeyRing;
  let database: pg.Client;
  let heavy: IssuedKey;

  beforeAll(async () => {
    postgres = await startPostgres();
    const fleet = await startFleet({ DATABASE_URL: postgres.url(), LATCHKEY_KEYS_PER_OWNER: "1000" });
    service = fleet.service;
    const { env } = fleet;
    cast = await fleet.cast();
    ring = new KeyRing(masterKeys(env.LATCHKEY_MASTER_KEYS!));
    database = new pg.Client({ connectionString: postgres.url() });
    await database.connect();
    heavy = await issueHeaviest();
  });
  afterAll(async () => {
    await database?.end();
    await service?.stop();
    await postgres?.stop();
  });

  const owner = () => clientOf(service.address, KeyService, cast.ownerToken);
  const verifier = () => clientOf(service.address, KeyService, cast.verifier);
  const ask = (apiKey: string) => answerTo(() => verifier().verifyKey({ apiKey, cost: 0 }));
  const idOf = (key: IssuedKey) => key.id.slice("key_".length);
  /** A key with the right id and a wrong secret, which no cache has. */
  const strangersKey = (key: IssuedKey) => newSecret(ring, FORMAT, "live", `key_${idOf(key)}`).rawKey;

  /** A key that its owner fills up as far as the service allows. */
  async function issueHeaviest(): Promise<IssuedKey> {
    const { key, apiKey } = await owner().issueKey({ name: "heavy" });
    const id = key!.id;
    const change = (paths: string[], fields: object) =>
      owner().updateKey({ key: { id, ...fields }, updateMask: { paths } });
    const fill = (entries: number) =>
      change(["metadata"], {
        metadata: Object.fromEntries(Array.from({ length: entries }, (_, n) => [`n${n}`, "😀".repeat(512)])),
      });
    let most = 0;
    for (let entries = 1; entries <= 28; entries++) {
      const isTaken = await fill(entries).then(
        () => true,
        () => false,
      );
      if (isTaken) most = entries;
    }
    expect(most, "the owner has filled it up").toBeGreaterThan(4);
    return { id, raw: apiKey };
  }

  /** Inserts more secrets of a key, as rotations leave them. `end` is SQL: the time of their end, or null. */
  async function insertSecrets(secrets: readonly NewSecret[], end: string): Promise<void> {
    await database.query(
      `insert into key_secrets (digest, key_id, pepper_version, created_at, expires_at)
       select new.digest, new.id, 1, now(), ${end} from unnest($1::bytea[], $2::text[]) as new(digest, id)`,
      [secrets.map(({ secret }) => secret.digest), secrets.map(({ keyId }) => keyId)],
    );
  }

  it("is told from an unknown key in the time of a read, even with 1,000 ended secrets, and opens no breaker", async () => {
    const [good] = (await cast.issue(1)) as [IssuedKey];
    const key = await issueHeaviest();
    // Rotations left such secrets before the service removed old ones.
    const ended = Array.from({ length: 1000 }, () => newSecret(ring, FORMAT, "live", key.id));
    await insertSecrets(ended, "now() - interval '1 day'");
    const answers = [];
    for (let n = 0; n < CALLS; n++) answers.push(await ask(strangersKey(key)));
    report(
      "a wrong secret of a key with 1,000 ended ones",
      answers.map(({ tookMs }) => tookMs),
    );
    expect(tally(answers)).toEqual({ INVALID: CALLS });
    for (const raw of [key.raw, good.raw]) expect((await ask(raw)).said).toBe("VALID");
  });

  it(`keeps at most ${MOST_SECRETS} secrets after 40 rotations: the live one, and the newest of those that ended`, async () => {
    const { key } = await owner().issueKey({ name: "rotated" });
    const secrets: string[] = [];
    for (let n = 0; n < 40; n++) {
      secrets.push((await owner().rotateKey({ keyId: key!.id, overlap: { seconds: 0n } })).apiKey);
    }
    const [{ kept }] = (
      await database.query("select count(*)::int as kept from key_secrets where key_id = $1", [key!.id])
    ).rows;
    expect(kept).toBeLessThanOrEqual(MOST_SECRETS);
    const said = [];
    for (const apiKey of secrets.toReversed()) said.push((await ask(apiKey)).said);
    expect(said[0]).toBe("VALID");
    expect(said.slice(1, 8)).toEqual(Array(7).fill("EXPIRED"));
    expect(said.at(-1)).toBe("INVALID");
  });

  it(`is read in the time of a read, ${BATCH} times in one batch and each with ${LIVE_SECRETS} secrets`, async () => {
    const keys = Array.from({ length: BATCH }, () => newSecret(ring, FORMAT, "live"));
    await database.query(
      `insert into api_keys select (jsonb_populate_record(k, jsonb_build_object('id', new.id))).*
       from api_keys k, unnest($2::text[]) as new(id) where k.id = $1`,
      [heavy.id, keys.map(({ keyId }) => keyId)],
    );
    await insertSecrets(keys, "null");
    for (let n = 1; n < LIVE_SECRETS; n++) {
      const older = keys.map(({ keyId }) => newSecret(ring, FORMAT, "live", keyId));
      await insertSecrets(older, "now() + interval '1 day'");
    }
    const requests = keys.map(({ rawKey }) => ({ apiKey: rawKey, cost: 0 }));
    const { results } = await verifier().batchVerifyKeys({ requests });
    const said = results.map(({ outcome }) =>
      outcome.case === "response" ? VerdictSchema.value[outcome.value.verdict]?.localName : "an error",
    );
    expect(new Set(said)).toEqual(new Set(["VALID"]));
    // The control: with one row for each secret these keys would be too large for one read.
    const [{ bytes }] = (
      await database.query(
        `select sum(octet_length(k::text))::float8 as bytes from api_keys k join key_secrets s on s.key_id = k.id
         where k.id = any($1)`,
        [keys.map(({ keyId }) => keyId)],
      )
    ).rows;
    expect(bytes).toBeGreaterThan(BATCH * LIVE_SECRETS * 10_000);
  });
});
