/**
 * BACK DOOR to PostgreSQL. The entities of the ORM, one a table; they never leave this folder: stores answer with
 * frozen plain records. The same entities and migrations run on PostgreSQL and on PGlite.
 *
 *   database.ts     connections, the doors to them, the database's time
 *   transaction.ts  what a transaction can do
 *   account-door.ts what decides who gets in, and all that ends when it changes
 *   standby-check.ts      the proof that an answer is the primary's, and of the history that the change feed follows
 *   incarnation.ts  which history transaction ids belong to
 *   change-polls.ts the statement of a poll
 *   abortable-transaction.ts     a transaction ends with the call that it is for
 *   conflicts.ts    from a driver's error to what the rooms understand
 *   *-store.ts      one store each, implementing the interface that a room declares
 *   migrations/     the schema, in order
 *
 * All times are timestamptz(3): a JavaScript Date holds them exactly, so that lists can be cut at (created_at, id).
 */
import { ArrayType, defineEntity, p } from "@mikro-orm/core";
import { arrayLiteral } from "./row.ts";

const time = () => p.datetime(3);

/** text[]. The ORM's own type writes an element `null`, in any case, as NULL. */
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
    /** What makes two addresses the same account; unique. */
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
/** What decides who gets in is read-only here: account-door.ts writes it, and ends what was made for the state before. */
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
    /** Id of the credential that made it; empty in rows of an older version. */
    createdBy: p.text(),
    expiresAt: time(),
    usedAt: time().nullable(),
    /** What the operator decided about the user's API keys; null for nothing. */
    revokeKeys: p.boolean().nullable(),
  },
});
export class PasswordResetRow extends PasswordResetSchema.class {}
PasswordResetSchema.setClass(PasswordResetRow);

const SessionSchema = defineEntity({
  name: "SessionRow",
  tableName: "sessions",
  properties: {
    id: p.text().primary(),
    userId: p.text(),
    /** 256 random bits that every refresh token of the session is computed from. */
    seed: p.blob(),
    /** Master key version that its refresh tokens are computed under. */
    ringVersion: p.integer(),
    /** Number of the newest refresh token. */
    generation: p.integer(),
    passwordVersion: p.integer(),
    createdAt: time(),
    /** When the newest refresh token was made. */
    refreshedAt: time(),
    idleExpiresAt: time(),
    expiresAt: time(),
    endedAt: time().nullable(),
    endReason: p.text().nullable(),
    userAgent: p.text(),
    clientIp: p.text(),
  },
});
export class SessionRow extends SessionSchema.class {}
SessionSchema.setClass(SessionRow);

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
    limitPerMinute: p.integer().nullable(),
    limitPerDay: p.integer().nullable(),
    state: p.text().$type<"active" | "disabled" | "revoked">(),
    disabledBy: p.text().nullable(),
    revokeReason: p.text().nullable(),
    /** A service issued or restricted the key: its owner can only tighten it. */
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
    /** Set when a rotation replaced it. */
    expiresAt: time().nullable(),
  },
});
export class KeySecretRow extends KeySecretSchema.class {}
KeySecretSchema.setClass(KeySecretRow);

/** What a request_id was used for, kept 24 h. */
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

export const TABLES = [
  UserRow,
  PasswordResetRow,
  SessionRow,
  SigningKeyRow,
  KeyRow,
  KeySecretRow,
  KeyRequestRow,
] as const;
