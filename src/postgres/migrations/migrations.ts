/**
 * The schema, as migrations in the order in which they are applied. A migration is never changed after its release.
 *
 *   migrations.ts                    this list
 *   schema-state.ts                  what a database has, compared with this list
 *   planned-migration.ts             the statements of a migration, on a database as it is now
 *   migrator.ts                      applies the migrations that a database lacks
 *   migration-script.ts              the same statements as a script for psql
 *   migration-lock.ts                the lock that lets one process at a time apply them
 *   migration-progress.ts            log lines while they run
 *   built-concurrently.ts            a migration that makes an index without keeping writers out
 *   concurrent-build.ts              runs it outside of a transaction, and again after an interruption
 *   0001-first-schema.ts             people, keys, signing keys, the log of changes
 *   0002-login-throttles.ts          failed logins and known networks
 *   0003-audit-events.ts             the audit trail
 *   0004-master-key-versions.ts      the version of the master key in each row that uses one
 *   0005-session-ends.ts             the index that finds old sessions
 *   0006-tiers-in-use.ts             the indexes that find the tiers in use
 *   0007-login-hashes.ts             password hashes that an address has cost
 *   0008-change-incarnation.ts       the id of the history that transaction ids belong to
 *   0009-emails-in-nfc.ts            e-mail addresses in NFC
 *   0010-texts-that-say-null.ts      repairs elements of arrays that say `null`
 *   0013-key-revocation-by-reset.ts  what a password reset does with API keys
 *   0014-audit-exports.ts            the events that wait for the export of the audit trail
 *   0015-certificate-names.ts        names of client certificates that stand for credentials
 *   0016-key-requests-by-time.ts     the index that finds forgotten request_ids
 */
import { FirstSchema } from "./0001-first-schema.ts";
import { LoginThrottles } from "./0002-login-throttles.ts";
import { AuditEvents } from "./0003-audit-events.ts";
import { MasterKeyVersions } from "./0004-master-key-versions.ts";
import { SessionEnds } from "./0005-session-ends.ts";
import { TiersInUse } from "./0006-tiers-in-use.ts";
import { LoginHashes } from "./0007-login-hashes.ts";
import { ChangeIncarnation } from "./0008-change-incarnation.ts";
import { EmailsInNfc } from "./0009-emails-in-nfc.ts";
import { TextsThatSayNull } from "./0010-texts-that-say-null.ts";
import { KeyRevocationByReset } from "./0013-key-revocation-by-reset.ts";
import { AuditExports } from "./0014-audit-exports.ts";
import { CertificateNames } from "./0015-certificate-names.ts";
import { KeyRequestsByTime } from "./0016-key-requests-by-time.ts";

export const MIGRATIONS = [
  FirstSchema,
  LoginThrottles,
  AuditEvents,
  MasterKeyVersions,
  SessionEnds,
  TiersInUse,
  LoginHashes,
  ChangeIncarnation,
  EmailsInNfc,
  TextsThatSayNull,
  KeyRevocationByReset,
  AuditExports,
  CertificateNames,
  KeyRequestsByTime,
] as const;
