import { mutantsOf } from "./tested-mutant.ts";

const KEYS = ["test/contract/key-store.test.ts", "test/contract/key-secret-moves.test.ts"];
const SESSIONS = ["test/contract/session-store.test.ts"];
const USERS = ["test/contract/user-store.test.ts"];
const RESETS = ["test/contract/password-reset-store.test.ts"];
const CALL_END = ["test/contract/call-end.test.ts"];

/** Conditions and locks of the statements for keys, sessions and reset tokens. */
export const POSTGRES_MUTANTS = [
  ...mutantsOf("src/postgres/rows/key-request-rows.ts", KEYS, [
    {
      name: "a request id serves any wish",
      search: "Buffer.from(row.parametersDigest).equals(request.parametersDigest)",
      replacement: "row.parametersDigest.length > 0",
      why: "another wish under a used request id looks carried out",
    },
  ]),
  ...mutantsOf("src/postgres/rows/key-rows.ts", KEYS, [
    {
      name: "the time of the last revocation",
      search: "row.revokedAt ??= now;",
      replacement: "row.revokedAt = now;",
      why: "what is on record moves",
    },
  ]),
  ...mutantsOf("src/postgres/stores/key-store.ts", KEYS, [
    {
      name: "changes whatever the version",
      search: "if (row === null || row.version !== expectedVersion) return",
      replacement: "if (row === null) return",
      why: "a decision on what a key was is carried out on what it is",
    },
    {
      name: "rotations whatever the version",
      search: "if (row === null || row.version !== rotation.expectedVersion) return",
      replacement: "if (row === null) return",
      why: "a key that was revoked meanwhile gets a new secret",
    },
    {
      name: "ended keys free a place at once",
      search: "{ $or: [{ revokedAt: null }, { revokedAt: { $gt: since } }] },",
      replacement: "{ revokedAt: null },",
      why: "issuing and revoking in turns is no quota",
    },
    {
      name: "owners not locked",
      search: "await lockUser(tx, ownerId)",
      replacement: "await tx.em.findOne(UserRow, { id: ownerId })",
      why: "parallel calls pass the quota",
    },
    {
      name: "keys for disabled owners",
      search: 'if (owner.state !== "active") return "owner_disabled";',
      replacement: "",
      why: "who was disabled while the call was on its way has a key that works once enabled",
    },
    {
      name: "a revoked operator is another operator",
      search: '    state: "active",\n    deletedAt: null,',
      replacement: "    deletedAt: null,",
      why: "the last credential that works can be revoked",
    },
    {
      name: "an expired operator is another operator",
      search: "    scopes: { $contains: [scope] },\n    $or: [{ expiresAt: null }, { expiresAt: { $gt: now } }],",
      replacement: "    scopes: { $contains: [scope] },",
      why: "the last credential that works can be revoked",
    },
    {
      name: "an operator is his own successor",
      search: "    id: { $ne: exceptId },\n",
      replacement: "",
      why: "the last credential that works can be revoked",
    },
    {
      name: "rotations not told",
      search: "row.version++;\n      await tx.em.flush();\n      await tx.changed(changeKind(row), row.id);",
      replacement: "row.version++;\n      await tx.em.flush();",
      why: "copies elsewhere let the old secret in as long as the feed proves them fresh",
    },
  ]),
  ...mutantsOf("src/postgres/rows/key-list.ts", KEYS, [
    {
      name: "lists of everybody's keys",
      search: '...(ownerId === undefined ? [] : ["k.owner_id = ?"]),',
      replacement: '...(ownerId === undefined ? [] : ["? is not null"]),',
      why: "each person sees the keys of all",
    },
    {
      name: "pages of any weight",
      search: "where k.bytes_before < ${MAX_PAGE_BYTES}",
      replacement: "where k.bytes_before >= 0",
      why: "an owner of fat keys keeps the process busy for a whole turn",
    },
  ]),
  ...mutantsOf("src/postgres/rows/key-secret-rows.ts", KEYS, [
    {
      name: "a rotation without overlap leaves older secrets",
      search: " || (overlapMs === 0 && expiresAt > end)",
      replacement: "",
      why: "whoever rotates a leaked secret away leaves those before it",
    },
    {
      name: "overlaps beyond the key's end",
      search: "Math.min(tx.now.getTime() + overlapMs, keyEndMs)",
      replacement: "tx.now.getTime() + overlapMs",
      why: "a secret says that it lives longer than its key",
    },
    {
      name: "ended secrets pile up",
      search: "tx.em.remove(lastFirst.slice(maxEndedSecrets));",
      replacement: "tx.em.remove([]);",
      why: "who rotates a key again and again makes its table grow without an end",
    },
    {
      name: "the secrets that ended last are forgotten first",
      search: "b.expiresAt!.getTime() - a.expiresAt!.getTime()",
      replacement: "a.expiresAt!.getTime() - b.expiresAt!.getTime()",
      why: "who just missed a rotation is told that his key never was one",
    },
  ]),
  ...mutantsOf("src/postgres/rows/key-rows.ts", KEYS, [
    {
      name: "all secrets that there ever were are read",
      search: " limit ${MAX_READ_SECRETS}) s",
      replacement: ") s",
      why: "who has rotated a key often makes everybody's reads too slow",
    },
    {
      name: "the secrets that ended first are read",
      search: "order by expires_at desc nulls first",
      replacement: "order by expires_at nulls last",
      why: "a key that was rotated often is refused by its live secret",
    },
    {
      name: "deleted keys verified",
      search: "any(?::text[]) and k.deleted_at is null`",
      replacement: "any(?::text[])`",
      why: "DeleteKey promises that the key can't be found",
    },
    {
      name: "keys found whatever their kind",
      search: "k.id = ? and k.kind = ?",
      replacement: "k.id = ? and ? is not null",
      why: "key managers manage service credentials",
    },
    {
      name: "deleted keys found",
      search: "k.kind = ? and k.deleted_at is null",
      replacement: "k.kind = ?",
      why: "what was deleted can be read and enabled again",
    },
  ]),
  ...mutantsOf("src/postgres/stores/session-store.ts", SESSIONS, [
    {
      name: "a grace without an end",
      search: "${now} <= s.refreshed_at + ${span(graceMs)}",
      replacement: "${now} is not null and ${span(graceMs)} is not null",
      why: "a stolen refresh token is never noticed",
    },
    {
      name: "a grace for every older generation",
      search: "(s.generation = p.generation + 1 and",
      replacement: "(s.generation > p.generation and",
      why: "a token that is in two hands is served",
    },
    {
      name: "ended sessions refreshed",
      search: "s.generation >= p.generation and s.ended_at is null and",
      replacement: "s.generation >= p.generation and",
      why: "Logout ends nothing",
    },
    {
      name: "idle sessions refreshed",
      search: "s.ended_at is null and s.idle_expires_at > ${now}\n      and exists",
      replacement: "s.ended_at is null\n      and exists",
      why: "a session has no end of its own",
    },
    {
      name: "sessions of disabled users refreshed",
      search: " where u.id = s.user_id and u.state = 'active')",
      replacement: " where u.id = s.user_id)",
      why: "who was disabled gets new tokens, where his session was not ended too",
    },
    {
      name: "sessions without an absolute end",
      search: "least(${now} + ${span(idleMs)}, s.expires_at)",
      replacement: "${now} + ${span(idleMs)}",
      why: "who refreshes never logs in again",
    },
    {
      name: "sessions end again and again",
      search: "where id = ? ${ofUser} and ended_at is null returning user_id",
      replacement: "where id = ? ${ofUser} returning user_id",
      why: "the time and the reason on record move",
    },
    {
      name: "a stolen token's session goes on",
      search: "ended_at = case when ${reused} then ${now} end,",
      replacement: "ended_at = case when ${reused} and false then ${now} end,",
      why: "the thief stays logged in",
    },
    {
      name: "ended sessions listed",
      search: "where s.user_id = ? and s.ended_at is null and",
      replacement: "where s.user_id = ? and",
      why: "people look for a stranger who is gone, or miss one among them",
    },
  ]),
  ...mutantsOf("src/postgres/rows/session-rows.ts", SESSIONS, [
    {
      name: "sessions that lapsed a moment ago not ended",
      search: " - interval '${MAX_ACCESS_TOKEN_LIFE}'`",
      replacement: "`",
      why: "who trusts tokens by their signature is not told of one that is good still",
    },
    {
      name: "sessions for disabled users",
      search: "u.id = p.user_id and u.state = 'active' and",
      replacement: "u.id = p.user_id and",
      why: "a login that began before the user was disabled is in",
    },
    {
      name: "sessions by an older password",
      search: "u.password_version = p.password_version",
      replacement: "u.password_version >= p.password_version",
      why: "a login that began before the password was changed is in",
    },
    {
      name: "sessions without a bound",
      search: "offset ${MAX_SESSIONS_PER_USER})",
      replacement: "offset 2 * ${MAX_SESSIONS_PER_USER})",
      why: "more live sessions than promised",
    },
  ]),
  ...mutantsOf("src/postgres/stores/password-reset-store.ts", USERS, [
    {
      name: "reset tokens without an end",
      search: "    expiresAt: { $gt: tx.now },\n",
      replacement: "",
      why: "an old e-mail opens the account",
    },
    {
      name: "reset tokens used by many at once",
      search: "if (used === 0) return undefined;",
      replacement: "",
      why: "a token is good twice",
    },
    {
      name: "reset tokens let the disabled in",
      search: 'if (row?.state !== "active") return undefined;',
      replacement: "if (row === null) return undefined;",
      why: "who was disabled sets a password and a session",
    },
  ]),
  ...mutantsOf("src/postgres/stores/password-reset-store.ts", RESETS, [
    {
      name: "older reset tokens stay",
      search: "      await tx.em.nativeDelete(PasswordResetRow, { userId: row.id });\n",
      replacement: "",
      why: "a token that was sent to the wrong place can't be replaced",
    },
    {
      name: "reset tokens for the disabled",
      search: 'if (row.state !== "active") return { kind: "user_disabled" };',
      replacement: "",
      why: "an operator sends out what does not work",
    },
  ]),
  ...mutantsOf("src/postgres/transactions/abortable-transaction.ts", CALL_END, [
    {
      name: "statements of calls that are over",
      search: "    signal?.throwIfAborted();\n    const answer",
      replacement: "    const answer",
      why: "work goes on for a caller who has gone",
    },
    {
      name: "COMMIT of calls that are over",
      search: "    signal?.throwIfAborted();\n    const command = commit",
      replacement: "    const command = commit",
      why: "a key is issued of which nobody knows",
    },
  ]),
];
