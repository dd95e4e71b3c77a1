/**
 * BACK DOOR to PostgreSQL. It implements the stores that the rooms declare; they return frozen plain records. Entities,
 * the entity manager and SQL never leave this room. The same statements and migrations run on PostgreSQL and on PGlite.
 *
 *   tables.ts           the tables as entities of the ORM
 *   row.ts              values of a plain row: times, bytes, arrays
 *   database.ts         what the stores see of the database: hot reads, reads, writes, transactions
 *   hot-read-budget.ts  the times of a hot read, from the statement to its caller
 *   delete-oldest.ts    deletes old rows, a bounded number at a time
 *
 *   stores/             one store each; a store imports rows, never another store
 *   rows/               the statements and mappings that stores share
 *   transactions/       transactions, their locks, and the end of one with its call
 *   connections/        connections and pools: what makes them, ends them, and shares them among callers
 *   history/            the proof that an answer comes from the primary and from the followed history
 *   errors/             from a driver's error to an error that the rooms understand
 *   migrations/         the schema, in order
 *   start/              what the start of the service and its commands ask of the database
 *
 * The order of layers is stores/, rows/, database.ts, migrations/, transactions/, connections/, history/, errors/. Each
 * of them imports only what comes after it.
 *
 * There are two ways to a table. Entities serve management: they are loaded, changed and flushed, and their columns
 * have types. Plain statements serve three things: hot reads, whose rows stay in memory in great number; statements
 * that must decide and write at once; and the tables without an entity (sessions, logins, changes, audit_events). So a
 * table that is read both ways, such as api_keys, has two mappings to one record, side by side in rows/.
 *
 * All times are timestamptz(3): a JavaScript Date holds them exactly, so that a page can begin exactly after
 * (created_at, id).
 */
import { ArrayType, defineEntity, p } from "@mikro-orm/core";
import { arrayLiteral } from "./row.ts";

const time = () => p.datetime(3);

/** The type text[]. The ORM's own type writes an element `null`, in upper or lower case, as NULL. */
class TextArray extends ArrayType<string> {
  override convertToDatabaseValue(elements: string[]): string {
    return arrayLiteral(elements);
  }
}

const UserSchema = defineEntity({
  name: "UserRow",
  tableName: "users",
  properties: {
    id: p.text().primary(),
    email: p.text(),
    /** The form in which addresses are compared; unique. */
    emailNormalized: p.text(),
    displayName: p.text(),
    tier: p.text(),
    scopes: p.type(TextArray).$type<string[]>(),
    state: p.text().$type<"active" | "disabled">(),
    /** Encoded hash; null until a person sets a password. */
    passwordHash: p.text().nullable(),
    /** Grows with each change of the password. */
    passwordVersion: p.integer(),
    createdAt: time(),
  },
});
/** The columns that decide who gets in are read-only here: rows/account-access.ts writes them, and ends all access. */
export class UserRow extends UserSchema.class {
  declare readonly emailNormalized: string;
  declare readonly state: "active" | "disabled";
  declare readonly passwordHash: string | null | undefined;
  declare readonly passwordVersion: number;
}
UserSchema.setClass(UserRow);

const PasswordResetSchema = defineEntity({
  name: "PasswordResetRow",
  tableName: "password_resets",
  properties: {
    tokenDigest: p.blob().primary(),
    /** Master key version of the digest. */
    ringVersion: p.integer(),
    userId: p.text(),
    createdAt: time(),
    /** Id of the credential of the operator who created it; empty in rows of an older version. */
    createdBy: p.text(),
    expiresAt: time(),
    usedAt: time().nullable(),
    /** The operator's decision about the user's API keys; null = none. */
    revokeKeys: p.boolean().nullable(),
  },
});
export class PasswordResetRow extends PasswordResetSchema.class {}
PasswordResetSchema.setClass(PasswordResetRow);

const SigningKeySchema = defineEntity({
  name: "SigningKeyRow",
  tableName: "signing_keys",
  properties: {
    kid: p.text().primary(),
    algorithm: p.text().$type<"EdDSA" | "ES256">(),
    /** The private JWK under AES-256-GCM; kid and version are its associated data. */
    sealed: p.blob(),
    sealVersion: p.integer(),
    createdAt: time(),
    activatesAt: time(),
    retiresAt: time().nullable(),
    revokedAt: time().nullable(),
  },
});
export class SigningKeyRow extends SigningKeySchema.class {}
SigningKeySchema.setClass(SigningKeyRow);

/** API keys and service credentials: one mechanism, told apart by `kind`. */
const KeySchema = defineEntity({
  name: "KeyRow",
  tableName: "api_keys",
  properties: {
    id: p.text().primary(),
    kind: p.text().$type<"api" | "service">(),
    environment: p.text(),
    name: p.text(),
    description: p.text(),
    prefix: p.text(),
    ownerId: p.text().nullable(),
    issuerId: p.text(),
    tier: p.text(),
    scopes: p.type(TextArray).$type<string[]>(),
    metadata: p.json<Record<string, string>>(),
    allowedIps: p.type(TextArray).$type<string[]>(),
    allowedMethods: p.type(TextArray).$type<string[]>(),
    /** The names that UpdateServiceCredential shows. The table certificate_names decides whose a name is. */
    certificateNames: p.type(TextArray).$type<string[]>(),
    limitPerMinute: p.integer().nullable(),
    limitPerDay: p.integer().nullable(),
    state: p.text().$type<"active" | "disabled" | "revoked">(),
    disabledBy: p.text().nullable(),
    revokeReason: p.text().nullable(),
    /** True if a service issued or restricted the key. Then its owner can only restrict it further. */
    serviceControlled: p.boolean(),
    createdAt: time(),
    expiresAt: time().nullable(),
    revokedAt: time().nullable(),
    deletedAt: time().nullable(),
    lastUsedAt: time().nullable(),
    /** Grows with each change; the etag. */
    version: p.integer(),
  },
});
export class KeyRow extends KeySchema.class {}
KeySchema.setClass(KeyRow);

const KeySecretSchema = defineEntity({
  name: "KeySecretRow",
  tableName: "key_secrets",
  properties: {
    digest: p.blob().primary(),
    keyId: p.text(),
    pepperVersion: p.integer(),
    createdAt: time(),
    /** Set when a rotation replaces it. */
    expiresAt: time().nullable(),
  },
});
export class KeySecretRow extends KeySecretSchema.class {}
KeySecretSchema.setClass(KeySecretRow);

/** The use of a request_id, kept for 24 h. */
const KeyRequestSchema = defineEntity({
  name: "KeyRequestRow",
  tableName: "key_requests",
  properties: {
    callerId: p.text().primary(),
    requestId: p.uuid().primary(),
    parametersDigest: p.blob(),
    keyId: p.text(),
    createdAt: time(),
  },
});
export class KeyRequestRow extends KeyRequestSchema.class {}
KeyRequestSchema.setClass(KeyRequestRow);

export const TABLES = [UserRow, PasswordResetRow, SigningKeyRow, KeyRow, KeySecretRow, KeyRequestRow] as const;
