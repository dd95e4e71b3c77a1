/**
 * The stores that the rooms declare, one file each. A method is one transaction. A store imports rows, never a store.
 *
 *   key-store.ts             API keys and service credentials (keys/)
 *   user-store.ts            users (auth/)
 *   session-store.ts         sessions (auth/)
 *   password-reset-store.ts  reset tokens (auth/)
 *   login-failure-store.ts   failed logins and known networks (auth/throttle/)
 *   signing-key-store.ts     signing keys (auth/signing/)
 *   change-store.ts          the log of changes (changes/)
 *   audit-store.ts           the audit trail (audit/)
 *   export-store.ts          the queue of its export (audit/export/)
 */
import { LockMode } from "@mikro-orm/core";
import type { SqlEntityManager } from "@mikro-orm/sql";
import { sessionEnded } from "../../keys/grants.ts";
import { hasEnded, type Key, type KeyKind, type KeyOwner, type SecretRehash } from "../../keys/key.ts";
import type {
  AddSecret,
  AddSecretOutcome,
  ChangeKeyOutcome,
  CredentialChanges,
  IdempotencyKey,
  InsertKeyOutcome,
  IssuingOwner,
  KeyChanges,
  KeyEntry,
  KeyFilter,
  KeyPage,
  KeyRead,
  KeyStore,
  KeyWithSecrets,
  LastOfScope,
  NamedCredential,
  NamedCredentialRead,
  NameTaken,
  NewKey,
} from "../../keys/key-store.ts";
import type { PagePosition } from "../../lib/page.ts";
import type { ManagedDatabase } from "../database.ts";
import { deleteOldest } from "../delete-oldest.ts";
import { lockUser } from "../rows/account-access.ts";
import { CREDENTIALS_BY_NAME, replaceCertificateNames } from "../rows/certificate-name-rows.ts";
import { GroupedReads } from "../rows/grouped-reads.ts";
import { recordUses, rehashSecrets } from "../rows/key-background-writes.ts";
import { insertKey } from "../rows/key-inserts.ts";
import { listKeys } from "../rows/key-list.ts";
import { findIssuingOwner, hasTooManySecrets, QUOTA_MEMORY_MS, REQUEST_MEMORY_MS } from "../rows/key-quotas.ts";
import { findRequest, insertRequest, locksOf } from "../rows/key-request-rows.ts";
import { applyChanges, KEY_WITH_OWNER, KEYS_WITH_SECRETS, toKey, toKeyWithOwner } from "../rows/key-rows.ts";
import { insertSecret, makePlace } from "../rows/key-secret-rows.ts";
import { holdSession } from "../rows/session-rows.ts";
import { KeyRow } from "../tables.ts";
import { CERTIFICATE_NAMES, keyLock, mustHold, userLock } from "../transactions/locks.ts";
import type { Transaction } from "../transactions/transaction.ts";

/** The advisory lock for revoking a credential that may be the last of its scope. The number is arbitrary. */
const LAST_CREDENTIAL_LOCK = "7809632594316157050";
const LAST_CREDENTIAL = "last credential";

export class PostgresKeyStore implements KeyStore {
  readonly #database: ManagedDatabase;
  readonly #reads: GroupedReads<KeyWithSecrets>;
  readonly #readsByName: GroupedReads<NamedCredential>;

  constructor(database: ManagedDatabase) {
    this.#database = database;
    this.#reads = new GroupedReads(database, KEYS_WITH_SECRETS);
    this.#readsByName = new GroupedReads(database, CREDENTIALS_BY_NAME);
  }

  async read(keyIds: readonly string[]): Promise<KeyRead> {
    const { records, databaseMs } = await this.#reads.read(keyIds);
    return { keys: records, databaseMs };
  }

  async readByCertificateNames(names: readonly string[]): Promise<NamedCredentialRead> {
    const { records, databaseMs } = await this.#readsByName.read(names);
    return { credentials: records, databaseMs };
  }

  async find(kind: KeyKind, keyId: string): Promise<{ key: Key; owner: KeyOwner | undefined } | undefined> {
    const [row] = await this.#database.read(KEY_WITH_OWNER, [keyId, kind]);
    return row && toKeyWithOwner(row);
  }

  findOwner(ownerId: string, request: IdempotencyKey | undefined): Promise<IssuingOwner | undefined> {
    return findIssuingOwner(this.#database, ownerId, request);
  }

  async insert(newKey: NewKey, entry: KeyEntry): Promise<InsertKeyOutcome> {
    const { key, request } = newKey;
    const ownerLocks = key.ownerId === undefined ? [] : [userLock(key.ownerId)];
    const locks = [...ownerLocks, ...locksOf(request)];
    if (key.certificateNames.length > 0) locks.push(CERTIFICATE_NAMES);
    return this.#database.transact(locks, async (tx) => {
      if (newKey.request !== undefined) {
        const used = await findRequest(tx, newKey.request);
        if (used !== undefined) return used;
      }
      const refused = await refuseForOwner(tx, newKey);
      if (refused !== undefined) return { kind: refused };
      await refuseEnded(tx, entry);
      if (key.certificateNames.length > 0) {
        const taken = await replaceCertificateNames(tx, key.id, key.certificateNames);
        if (taken !== undefined) return taken;
      }
      const row = await insertKey(tx, newKey);
      insertSecret(tx, row.id, newKey.secret.digest, newKey.secret.pepperVersion);
      if (newKey.request !== undefined) insertRequest(tx, newKey.request, row.id);
      await tx.em.flush();
      await tx.changed(changeKind(row), row.id);
      await tx.record({ ...entry, subjectId: row.id });
      return { kind: "inserted", key: toKey(row) };
    });
  }

  change(keyId: string, expectedVersion: number, changes: KeyChanges, entry: KeyEntry): Promise<ChangeKeyOutcome>;
  change(
    keyId: string,
    expectedVersion: number,
    changes: KeyChanges,
    entry: KeyEntry,
    keepScope: string | undefined,
  ): Promise<ChangeKeyOutcome | LastOfScope>;
  async change(
    keyId: string,
    expectedVersion: number,
    changes: KeyChanges,
    entry: KeyEntry,
    keepScope?: string,
  ): Promise<ChangeKeyOutcome | LastOfScope> {
    const locks = [keyLock(keyId), ...(keepScope === undefined ? [] : [LAST_CREDENTIAL])];
    return this.#database.transact(locks, async (tx) => {
      if (keepScope !== undefined) {
        mustHold(tx, LAST_CREDENTIAL);
        await tx.em.execute("select pg_advisory_xact_lock(?::bigint)", [LAST_CREDENTIAL_LOCK]);
        if (!(await hasUsable(tx.em, tx.now, keepScope, keyId))) return { kind: "last_of_scope" };
      }
      return changeLocked(tx, keyId, expectedVersion, changes, entry);
    });
  }

  async changeCredential(
    keyId: string,
    expectedVersion: number,
    { certificateNames, ...changes }: CredentialChanges,
    entry: KeyEntry,
  ): Promise<ChangeKeyOutcome | NameTaken> {
    const locks = [keyLock(keyId), ...(certificateNames === undefined ? [] : [CERTIFICATE_NAMES])];
    return this.#database.transact(locks, async (tx) => {
      return changeLocked(tx, keyId, expectedVersion, changes, entry, async (row) => {
        const taken = certificateNames && (await replaceCertificateNames(tx, keyId, certificateNames));
        if (certificateNames !== undefined && taken === undefined) row.certificateNames = [...certificateNames];
        return taken;
      });
    });
  }

  unchanged(key: Key): void {
    this.#database.unchanged(changeKind(key), key.id);
  }

  async limitsReset(keyId: string, entry: KeyEntry): Promise<void> {
    await this.#database.transact(async (tx) => {
      await tx.changed("KEY", keyId);
      await tx.record({ ...entry, subjectId: keyId });
    });
  }

  async addSecret(rotation: AddSecret, entry: KeyEntry): Promise<AddSecretOutcome> {
    if (await hasTooManySecrets(this.#database, rotation)) return { kind: "too_many_secrets" };
    return this.#database.transact([keyLock(rotation.keyId), ...locksOf(rotation.request)], async (tx) => {
      if (rotation.request !== undefined) {
        const used = await findRequest(tx, rotation.request);
        if (used !== undefined) return used;
      }
      await refuseEnded(tx, entry);
      const row = await lockKey(tx, rotation.keyId);
      if (row === null || row.version !== rotation.expectedVersion) return { kind: "conflict" };
      if (hasEnded(toKey(row), tx.now.getTime())) return { kind: "ended" };
      if (!(await makePlace(tx, row, rotation))) return { kind: "too_many_secrets" };
      insertSecret(tx, row.id, rotation.secret.digest, rotation.secret.pepperVersion);
      if (rotation.request !== undefined) insertRequest(tx, rotation.request, row.id);
      row.version++;
      await tx.em.flush();
      await tx.changed(changeKind(row), row.id);
      await tx.record({ ...entry, subjectId: row.id });
      return { kind: "changed", key: toKey(row) };
    });
  }

  list(filter: KeyFilter, size: number, after: PagePosition | undefined): Promise<KeyPage> {
    return listKeys(this.#database, { filter, size, after });
  }

  recordUses(uses: readonly { readonly keyId: string; readonly usedAtMs: number }[]): Promise<void> {
    return recordUses(this.#database, uses);
  }

  rehashSecrets(rehashes: readonly SecretRehash[]): Promise<number> {
    return rehashSecrets(this.#database, rehashes);
  }

  pruneRequests(): Promise<boolean> {
    return deleteOldest(this.#database, "key_requests", REQUEST_MEMORY_MS);
  }

  async hasUsableCredential(scope: string): Promise<boolean> {
    return this.#database.transact(({ em, now }) => hasUsable(em, now, scope, ""));
  }
}

function changeKind(row: Pick<KeyRow, "kind">): "KEY" | "SERVICE_CREDENTIAL" {
  return row.kind === "service" ? "SERVICE_CREDENTIAL" : "KEY";
}

/**
 * Changes a row whose version is still the expected one, tells all copies, and records it.
 *
 * @param refuse writes more into the row, or returns why it must not change, and leaves it as it is then
 */
async function changeLocked<R extends object = never>(
  tx: Transaction,
  keyId: string,
  expectedVersion: number,
  changes: KeyChanges,
  entry: KeyEntry,
  refuse?: (row: KeyRow) => Promise<R | undefined>,
): Promise<ChangeKeyOutcome | R> {
  await refuseEnded(tx, entry);
  const row = await lockKey(tx, keyId);
  if (row === null || row.version !== expectedVersion) return { kind: "conflict" };
  const refusal = await refuse?.(row);
  if (refusal !== undefined) return refusal;
  applyChanges(row, changes, tx.now);
  await tx.em.flush();
  await tx.changed(changeKind(row), row.id);
  await tx.record({ ...entry, subjectId: row.id });
  return { kind: "changed", key: toKey(row) };
}

function lockKey(tx: Transaction, keyId: string): Promise<KeyRow | null> {
  mustHold(tx, keyLock(keyId));
  return tx.em.findOne(KeyRow, { id: keyId, deletedAt: null }, { lockMode: LockMode.PESSIMISTIC_WRITE });
}

/**
 * Refuses a change by a session that has ended. Locks are taken in the order owner, session, key, the same order in
 * which sessions end.
 *
 * @throws CREDENTIAL_INVALID
 */
async function refuseEnded(tx: Transaction, { sessionId }: KeyEntry): Promise<void> {
  if (sessionId !== undefined && !(await holdSession(tx, sessionId))) throw sessionEnded();
}

/**
 * Locks the owner, so that keys of one owner are issued one after another.
 *
 * @returns why the key is refused, if it is
 */
async function refuseForOwner(
  tx: Transaction,
  newKey: NewKey,
): Promise<"owner_missing" | "owner_disabled" | "quota_exceeded" | undefined> {
  const { ownerId } = newKey.key;
  if (ownerId === undefined) return undefined;
  const owner = await lockUser(tx, ownerId);
  if (owner === null) return "owner_missing";
  if (owner.state !== "active") return "owner_disabled";
  const since = new Date(tx.now.getTime() - QUOTA_MEMORY_MS);
  const count = await tx.em.count(KeyRow, {
    ownerId,
    $and: [
      { $or: [{ revokedAt: null }, { revokedAt: { $gt: since } }] },
      { $or: [{ expiresAt: null }, { expiresAt: { $gt: since } }] },
    ],
  });
  return newKey.ownerQuota !== undefined && count >= newKey.ownerQuota ? "quota_exceeded" : undefined;
}

async function hasUsable(em: SqlEntityManager, now: Date, scope: string, exceptId: string): Promise<boolean> {
  const count = await em.count(KeyRow, {
    id: { $ne: exceptId },
    kind: "service",
    state: "active",
    deletedAt: null,
    scopes: { $contains: [scope] },
    $or: [{ expiresAt: null }, { expiresAt: { $gt: now } }],
  });
  return count > 0;
}
