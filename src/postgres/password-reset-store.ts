import type { CreatedReset, PasswordResetStore } from "../auth/password-reset-store.ts";
import type { GrantedSession } from "../auth/session.ts";
import type { User } from "../auth/user.ts";
import type { Database } from "./database.ts";
import { insertReset } from "./password-reset-rows.ts";
import { PasswordResetRow, UserRow } from "./tables.ts";
import type { Transaction } from "./transaction.ts";
import { toUser } from "./user-rows.ts";
import { lockUser, replacePassword } from "./user-store.ts";

export class PostgresPasswordResetStore implements PasswordResetStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async create(input: Parameters<PasswordResetStore["create"]>[0]): Promise<CreatedReset> {
    return this.#database.transact(async (tx) => {
      const row = await lockUser(tx, input.userId);
      if (row === null) return { kind: "no_such_user" };
      if (row.state !== "active") return { kind: "user_disabled" };
      await tx.em.nativeDelete(PasswordResetRow, { userId: row.id });
      const expiresAt = await insertReset(tx, row.id, input.reset);
      await tx.record({ ...input.by, kind: "user.reset_token_created", subjectId: row.id });
      return { kind: "created", expiresAtMs: expiresAt.getTime() };
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
    const these = digests.map(() => "decode(?, 'hex')").join(", ");
    const [row] = await this.#database.read(
      `select user_id from password_resets where token_digest in (${these})`,
      digests.map((digest) => Buffer.from(digest).toString("hex")),
    );
    return row?.user_id as string | undefined;
  }

  async complete(input: Parameters<PasswordResetStore["complete"]>[0]): Promise<GrantedSession | undefined> {
    return this.#database.transact(async (tx) => {
      const reset = await findUsable(tx, input.digests);
      if (reset === null) return undefined;
      const row = await lockUser(tx, reset.userId);
      if (row?.state !== "active") return undefined;
      // Under the user's lock: of two that use one token the second finds it used.
      const used = await tx.em.nativeUpdate(
        PasswordResetRow,
        { tokenDigest: reset.tokenDigest, usedAt: null },
        { usedAt: tx.now },
      );
      if (used === 0) return undefined;
      await tx.em.nativeUpdate(PasswordResetRow, { userId: row.id, usedAt: null }, { usedAt: tx.now });
      const entry = { actorId: row.id, clientIp: input.session.clientIp, subjectId: row.id };
      await tx.record({ ...entry, kind: "user.password_reset" });
      return replacePassword(tx, row, input);
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
