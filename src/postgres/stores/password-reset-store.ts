import { actedBy } from "../../audit/actor.ts";
import { type AccountHistory, decideRevocation } from "../../auth/key-revocation.ts";
import type { CompletedReset, CreatedReset, PasswordResetStore } from "../../auth/password-reset-store.ts";
import type { User } from "../../auth/user.ts";
import type { ManagedDatabase } from "../database.ts";
import { arrayLiteral } from "../row.ts";
import { changeAccess, type EndedAccess, lockUser } from "../rows/account-access.ts";
import { revokeKeysOf } from "../rows/owner-key-rows.ts";
import { insertReset } from "../rows/password-reset-rows.ts";
import { beginSessionOf, hasKnownLogin } from "../rows/session-rows.ts";
import { toUser } from "../rows/user-rows.ts";
import { PasswordResetRow, UserRow } from "../tables.ts";
import { userLock } from "../transactions/locks.ts";
import type { Transaction } from "../transactions/transaction.ts";

type CreateInput = Parameters<PasswordResetStore["create"]>[0];
type CompleteInput = Parameters<PasswordResetStore["complete"]>[0];

export class PostgresPasswordResetStore implements PasswordResetStore {
  readonly #database: ManagedDatabase;

  constructor(database: ManagedDatabase) {
    this.#database = database;
  }

  async create(input: CreateInput): Promise<CreatedReset> {
    return this.#database.transact([userLock(input.userId)], async (tx) => {
      const row = await lockUser(tx, input.userId);
      if (row === null) return { kind: "no_such_user" };
      if (row.state !== "active") return { kind: "user_disabled" };
      const { by, revokeKeys } = input;
      const { revokes: revokesKeys } = decideRevocation(revokeKeys, undefined, await historyOf(tx, row, tx.now));
      const ended = input.endAccess ? await endAccess(tx, row) : undefined;
      await tx.em.nativeDelete(PasswordResetRow, { userId: row.id });
      const expiresAt = await insertReset(tx, row.id, input.reset, { createdBy: by.id, revokeKeys });
      const details = {
        ...(revokeKeys !== undefined && { revoke_keys: String(revokeKeys) }),
        ...(ended !== undefined && { ended_sessions: String(ended.sessions) }),
      };
      await tx.record({ ...actedBy(by), kind: "user.reset_token_created", subjectId: row.id, details });
      return { kind: "created", expiresAtMs: expiresAt.getTime(), revokesKeys };
    });
  }

  async find(digests: readonly Uint8Array[]): Promise<User | undefined> {
    return this.#database.transact(async (tx) => {
      const reset = await findUsable(tx, digests);
      if (reset === null) return undefined;
      const row = await tx.em.findOne(UserRow, { id: reset.userId, state: "active" });
      return row === null ? undefined : toUser(row);
    });
  }

  async ownerOf(digests: readonly Uint8Array[]): Promise<string | undefined> {
    const hex = digests.map((digest) => Buffer.from(digest).toString("hex"));
    const [row] = await this.#database.read(
      "select user_id from password_resets where token_digest in (select decode(d, 'hex') from unnest(?::text[]) d)",
      [arrayLiteral(hex)],
    );
    return row?.user_id as string | undefined;
  }

  async complete(input: CompleteInput): Promise<CompletedReset | undefined> {
    const userId = await this.ownerOf(input.digests);
    if (userId === undefined) return undefined;
    return this.#database.transact([userLock(userId)], async (tx) => {
      const reset = await findUsable(tx, input.digests);
      if (reset === null) return undefined;
      const row = await lockUser(tx, reset.userId);
      if (row?.state !== "active") return undefined;
      // Under the user's lock: of two calls with one token, the second finds it used.
      const used = await tx.em.nativeUpdate(
        PasswordResetRow,
        { tokenDigest: reset.tokenDigest, usedAt: null },
        { usedAt: tx.now },
      );
      if (used === 0) return undefined;
      const history = await historyOf(tx, row, reset.createdAt);
      const { passwordHash, session, clientIp } = input;
      await changeAccess(tx, row, { passwordHash }, "password_changed");
      const { revokedKeys, details } = await revokeKeys(tx, reset, history, input);
      await tx.record({ kind: "user.password_reset", actorId: row.id, subjectId: row.id, clientIp, details });
      return { session: await beginSessionOf(tx, row, session), revokedKeys };
    });
  }
}

function findUsable(tx: Transaction, digests: readonly Uint8Array[]): Promise<PasswordResetRow | null> {
  return tx.em.findOne(PasswordResetRow, {
    tokenDigest: { $in: digests.map((digest) => Buffer.from(digest)) },
    usedAt: null,
    expiresAt: { $gt: tx.now },
  });
}

/** Removes the password and ends all access. An account that never had a password keeps version 0. */
function endAccess(tx: Transaction, row: UserRow): Promise<EndedAccess> {
  return changeAccess(tx, row, row.passwordVersion === 0 ? {} : { passwordHash: null }, "ended_by_operator");
}

/**
 * The account as it was when the token was made, so that a stranger who holds the account can't change the decision.
 */
async function historyOf(tx: Transaction, row: UserRow, madeAt: Date): Promise<AccountHistory> {
  return { hadPassword: row.passwordVersion > 0, hasKnownLogin: await hasKnownLogin(tx, row.id, madeAt) };
}

/** Revokes the user's API keys if that is the decision. @returns their number, and details for the audit trail */
async function revokeKeys(tx: Transaction, reset: PasswordResetRow, history: AccountHistory, input: CompleteInput) {
  const { revokes, decider } = decideRevocation(reset.revokeKeys ?? undefined, input.revokeKeys, history);
  if (!revokes) return { revokedKeys: 0, details: {} };
  const decided = decider === "operator" ? { decided_by: reset.createdBy } : { decided_by: decider };
  const entry = { actorId: reset.userId, clientIp: input.clientIp };
  const reason = "password_reset";
  const revokedKeys = await revokeKeysOf(tx, reset.userId, { ...entry, details: { reason, ...decided } }, reason);
  return { revokedKeys, details: { revoked_keys: String(revokedKeys), ...decided } };
}
