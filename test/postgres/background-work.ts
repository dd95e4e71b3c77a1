/** The statements that no call of a tour makes: those of the work in the background, and of rare turns of events. */
import { randomBytes } from "node:crypto";
import { DESTINATION_NAMES } from "../../src/audit/export/export-store.ts";
import { KeyRing } from "../../src/lib/key-ring.ts";
import type { ManagedDatabase } from "../../src/postgres/database.ts";
import { PostgresAuditStore } from "../../src/postgres/stores/audit-store.ts";
import { EmbeddedChangeStore } from "../../src/postgres/stores/change-store.ts";
import { PostgresExportStore } from "../../src/postgres/stores/export-store.ts";
import { PostgresKeyStore } from "../../src/postgres/stores/key-store.ts";
import { PostgresLoginFailureStore } from "../../src/postgres/stores/login-failure-store.ts";
import { PostgresSessionStore } from "../../src/postgres/stores/session-store.ts";
import { openTarget, postgresTarget } from "../support/database.ts";

const DAY_MS = 86_400_000;

/** Runs each of them once on the database of a URL, and each pruning twice. */
export async function workInBackground(url: string, keyIds: readonly string[]): Promise<void> {
  await using test = await openTarget(postgresTarget(url));
  const { database } = test;
  const [audit, sessions] = [new PostgresAuditStore(database), new PostgresSessionStore(database)];
  const [changes, keys] = [new EmbeddedChangeStore(database), new PostgresKeyStore(database)];
  await changes.poll(undefined);
  for (let times = 0; times < 2; times++) {
    await audit.prune(400 * DAY_MS);
    await sessions.prune();
    await changes.prune(DAY_MS);
    await new PostgresLoginFailureStore(database).prune();
    await keys.pruneRequests();
    await new PostgresLoginFailureStore(database, 10_000).prune();
  }

  await keys.recordUses(keyIds.map((keyId) => ({ keyId, usedAtMs: Date.now() })));
  const secret = () => ({ digest: randomBytes(32), pepperVersion: 1, expiresAtMs: undefined });
  await keys.rehashSecrets(keyIds.map(() => ({ from: secret(), to: { digest: randomBytes(32), pepperVersion: 2 } })));
  await keys.readByCertificateNames(["service-10000", "verifier.shop.example.com"]);
  await exportEvents(database);
  await changes.catchUp(undefined);
  const ended = await changes.endedSessions(DAY_MS, 100, undefined);
  await changes.endedSessions(DAY_MS, 100, ended.at(-1));
}

/** One turn of the export to each destination, and the end of it. */
async function exportEvents(database: ManagedDatabase): Promise<void> {
  const exports = new PostgresExportStore(database);
  for (const destination of DESTINATION_NAMES) {
    await exports.lead(destination, "tour", DAY_MS);
    const [first, ...others] = await exports.next(destination, 100);
    await exports.delay(first!, DAY_MS);
    await exports.remove(others);
    await exports.next(destination, 100);
    await exports.backlog(destination);
    await exports.removeLost(destination);
  }
  await exports.forget(DAY_MS);
  await exports.resign("lines", "tour");
  while ((await exports.forget(-1000)) > 0);
}

/** A ring of one version. */
export function someRing(bytes: Uint8Array): KeyRing {
  return new KeyRing([{ version: 1, bytes }]);
}
