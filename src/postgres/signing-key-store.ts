import type { SealedSigningKey, SigningAlgorithm, SigningKeyRecord } from "../auth/signing-key.ts";
import type { SigningKeyList, SigningKeyStore } from "../auth/signing-key-store.ts";
import { bytesOf, type Database, ms, msOf, type Row } from "./database.ts";
import { SigningKeyRow } from "./tables.ts";

/** Any number that nobody else takes; held while a first signing key is made. */
const FIRST_KEY_LOCK = "7809632594316157051";

export class PostgresSigningKeyStore implements SigningKeyStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async list(): Promise<SigningKeyList> {
    const { now } = this.#database;
    // The join answers with the time also where there is no key. Access tokens live at most a day.
    const rows = await this.#database.read(
      `select k.kid, k.algorithm, k.sealed, k.seal_version, ${ms("k.created_at")} as created_ms,
         ${ms("k.activates_at")} as activates_ms, ${ms("k.retires_at")} as retires_ms, ${ms(now)} as now_ms
       from (select 1) one left join signing_keys k
         on k.revoked_at is null and (k.retires_at is null or k.retires_at > ${now} - interval '2 days')
       order by k.activates_at desc, k.kid desc`,
      [],
    );
    const keys = rows.filter((row) => row.kid !== null).map(toRecord);
    return { keys, databaseMs: msOf(rows[0]?.now_ms) as number };
  }

  async addUnlessOneSigns(key: SealedSigningKey): Promise<boolean> {
    return this.#database.transact(async (tx) => {
      await tx.em.execute("select pg_advisory_xact_lock(?::bigint)", [FIRST_KEY_LOCK]);
      // Not the transaction's time: it began before the wait for the lock, and so before the other's key was active.
      const { now } = this.#database;
      const signing = await tx.em.execute<Row[]>(
        `select kid from signing_keys
         where revoked_at is null and activates_at <= ${now} and (retires_at is null or retires_at > ${now})`,
      );
      if (signing.length > 0) return false;
      const row = tx.em.create(SigningKeyRow, {
        kid: key.kid,
        algorithm: key.algorithm,
        sealed: Buffer.from(key.sealed),
        sealVersion: key.sealVersion,
        createdAt: tx.now,
        activatesAt: tx.now,
        retiresAt: null,
        revokedAt: null,
      });
      tx.em.persist(row);
      await tx.em.flush();
      await tx.changed("SIGNING_KEY", key.kid);
      return true;
    });
  }
}

function toRecord(row: Row): SigningKeyRecord {
  return Object.freeze({
    kid: row.kid as string,
    algorithm: row.algorithm as SigningAlgorithm,
    sealed: Buffer.from(bytesOf(row.sealed)),
    sealVersion: row.seal_version as number,
    createdAtMs: msOf(row.created_ms) as number,
    activatesAtMs: msOf(row.activates_ms) as number,
    retiresAtMs: msOf(row.retires_ms),
    revokedAtMs: undefined,
  });
}
