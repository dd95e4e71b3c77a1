import { type Actor, actedBy } from "../../audit/actor.ts";
import type { SealedSigningKey, SigningKeyRecord } from "../../auth/signing/signing-key.ts";
import type { SigningKeyList, SigningKeyStore } from "../../auth/signing/signing-key-store.ts";
import { DAY_MS } from "../../lib/clock.ts";
import { type ManagedDatabase, ms, type Row } from "../database.ts";
import { findNext, findSigning, insertSigningKey, recordOfRead, toRecord } from "../rows/signing-key-rows.ts";
import { SigningKeyRow } from "../tables.ts";
import { mustHold } from "../transactions/locks.ts";
import type { Transaction } from "../transactions/transaction.ts";

/** The advisory lock for a transaction that decides which key signs. The number is arbitrary. */
const SIGNING_KEYS_LOCK = "7809632594316157051";
const SIGNING_KEYS = "signing keys";
const MAX_HISTORY = 250;
/** How long ended keys stay in the history. Access tokens live at most a day. */
const KEPT_AFTER_END_MS = 30 * DAY_MS;

export class PostgresSigningKeyStore implements SigningKeyStore {
  readonly #database: ManagedDatabase;

  constructor(database: ManagedDatabase) {
    this.#database = database;
  }

  async list(): Promise<SigningKeyList> {
    const { now } = this.#database;
    // Access tokens live at most a day.
    const { rows, databaseMs } = await this.#database.hotRead(
      `select k.kid, k.algorithm, k.sealed, k.seal_version, ${ms("k.created_at")} as created_ms,
         ${ms("k.activates_at")} as activates_ms, ${ms("k.retires_at")} as retires_ms
       from signing_keys k
       where k.revoked_at is null and (k.retires_at is null or k.retires_at > ${now} - interval '2 days')`,
      [],
    );
    return { keys: rows.map(recordOfRead).sort(newestFirst), databaseMs };
  }

  async history(): Promise<readonly SigningKeyRecord[]> {
    return this.#database.transact(async ({ em }) => {
      const orderBy = [{ createdAt: "desc" as const }, { kid: "desc" as const }];
      return (await em.find(SigningKeyRow, {}, { orderBy, limit: MAX_HISTORY })).map(toRecord);
    });
  }

  async addUnlessOneSigns(key: SealedSigningKey): Promise<boolean> {
    return this.#database.transact([SIGNING_KEYS], async (tx) => {
      const now = await this.#lock(tx);
      if ((await findSigning(tx, now)).length > 0) return false;
      const next = await findNext(tx, now);
      await insertSigningKey(tx, key, { createdAt: now, activatesAt: now, retiresAt: next?.activatesAt ?? null });
      await tx.record({ kind: "signing_key.created", subjectId: key.kid, actorId: "", clientIp: "" });
      return true;
    });
  }

  async addNext(input: Parameters<SigningKeyStore["addNext"]>[0]): ReturnType<SigningKeyStore["addNext"]> {
    const { key, leadMs, by } = input;
    return this.#database.transact([SIGNING_KEYS], async (tx) => {
      const now = await this.#lock(tx);
      const waiting = await findNext(tx, now);
      if (waiting !== null) return { key: toRecord(waiting), isNew: false };
      const signing = await findSigning(tx, now);
      const activatesAt = signing.length === 0 ? now : new Date(now.getTime() + leadMs);
      for (const row of signing) row.retiresAt = activatesAt;
      const next = await insertSigningKey(tx, key, { createdAt: now, activatesAt, retiresAt: null });
      await tx.record({ ...actedBy(by), kind: "signing_key.created", subjectId: key.kid });
      await eraseEnded(tx, now);
      return { key: toRecord(next), isNew: true };
    });
  }

  async reseal({ from, to }: Parameters<SigningKeyStore["reseal"]>[0]): Promise<boolean> {
    const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
    const resealed = await this.#database.write(
      `update signing_keys set sealed = decode(?, 'hex'), seal_version = ?::int
       where kid = ? and seal_version = ?::int and sealed = decode(?, 'hex')`,
      [hex(to.sealed), to.sealVersion, from.kid, from.sealVersion, hex(from.sealed)],
    );
    return resealed > 0;
  }

  async revoke(input: Parameters<SigningKeyStore["revoke"]>[0]): Promise<SigningKeyRecord | undefined> {
    const { kid, replacement, by } = input;
    return this.#database.transact([SIGNING_KEYS], async (tx) => {
      const now = await this.#lock(tx);
      const row = await tx.em.findOne(SigningKeyRow, { kid });
      if (row === null) return undefined;
      if (row.revokedAt !== null) {
        tx.unchanged("SIGNING_KEY", kid);
        return toRecord(row);
      }
      row.revokedAt = now;
      await tx.em.flush();
      const others = await findSigning(tx, now);
      if (row.activatesAt > now) for (const other of others) other.retiresAt = null;
      else if (others.length === 0) await letAnotherSign(tx, replacement, now, by);
      await tx.em.flush();
      await tx.changed("SIGNING_KEY", kid);
      await tx.record({ ...actedBy(by), kind: "signing_key.revoked", subjectId: kid });
      return toRecord(row);
    });
  }

  /**
   * Waits until no other process decides which key signs.
   *
   * @returns the time after the wait. The transaction's own time is from before it, and so from before the decisions of
   *   others.
   */
  async #lock(tx: Transaction): Promise<Date> {
    mustHold(tx, SIGNING_KEYS);
    await tx.em.execute("select pg_advisory_xact_lock(?::bigint)", [SIGNING_KEYS_LOCK]);
    const [row] = await tx.em.execute<Row[]>(`select ${ms(this.#database.now)} as now`);
    return new Date(Math.floor(row?.now as number));
  }
}

/**
 * Makes another key sign after the signing key was revoked: the next one, which verifiers may know, or else a new one.
 */
async function letAnotherSign(tx: Transaction, replacement: SealedSigningKey, now: Date, by: Actor): Promise<void> {
  const next = await findNext(tx, now);
  if (next !== null) {
    next.activatesAt = now;
    return;
  }
  await insertSigningKey(tx, replacement, { createdAt: now, activatesAt: now, retiresAt: null });
  await tx.record({ ...actedBy(by), kind: "signing_key.created", subjectId: replacement.kid });
}

async function eraseEnded(tx: Transaction, now: Date): Promise<void> {
  const before = new Date(now.getTime() - KEPT_AFTER_END_MS);
  await tx.em.nativeDelete(SigningKeyRow, { $or: [{ retiresAt: { $lt: before } }, { revokedAt: { $lt: before } }] });
}

/** The order by activation, then kid, both descending. */
function newestFirst(a: SigningKeyRecord, b: SigningKeyRecord): number {
  return b.activatesAtMs - a.activatesAtMs || (a.kid < b.kid ? 1 : -1);
}
