import { createHmac } from "node:crypto";
import type { RefusalRecorder } from "../../audit/refusal-recorder.ts";
import type { KeyRing } from "../../lib/key-ring.ts";
import { Lru } from "../../lib/lru.ts";
import type { UserStore } from "../user-store.ts";
import type { LoginWait } from "./login-limits.ts";
import { networkOf } from "./login-network.ts";

export interface LoginTracesDeps {
  readonly users: Pick<UserStore, "secretsByEmail">;
  readonly refusals: Pick<RefusalRecorder, "note">;
  readonly ring: KeyRing;
}

/** The part of an attempt that its trace needs. */
export interface TracedAttempt {
  readonly clientIp: string;
  /** Normalized address of the account, even if there is no such account. */
  readonly emailNormalized: string;
}

/** Maximum entries of `#userIds`, the memory of which accounts exist. */
const MAX_REMEMBERED = 10_000;
/** 64 bits: enough to tell accounts apart, and short enough to read. */
const DIGEST_CHARACTERS = 16;

/**
 * Records failed and throttled attempts on the audit trail. The trail names an account by its user id, if there is one,
 * and always by a digest of its address. Neither the trail nor the log contains the address. Accounts that exist and
 * invented ones have separate rooms (see audit/refusal-rooms.ts).
 */
export class LoginTraces {
  readonly #deps: LoginTracesDeps;
  /** User ids by digest; empty if there is no account. */
  readonly #userIds = new Lru<string, Promise<string>>(MAX_REMEMBERED);

  constructor(deps: LoginTracesDeps) {
    this.#deps = deps;
  }

  /**
   * Records a wrong password.
   *
   * @param userId empty if there is no such account
   * @param reason the verb that was tried
   * @returns the account's digest, for the log
   */
  failed({ emailNormalized, clientIp }: TracedAttempt, userId: string, reason: "login" | "change_password"): string {
    const account = this.#digestOf(emailNormalized);
    this.#userIds.set(account, Promise.resolve(userId));
    this.#note("login.failed", { account, userId, clientIp }, { tally: `by ${reason}` });
    return account;
  }

  /**
   * Records an attempt that must wait, because of the account, its address or a network.
   *
   * @returns the account's digest, for the log; undefined if the attempt was refused before its account was known
   */
  throttled({ emailNormalized, clientIp }: TracedAttempt, of: LoginWait["of"]): string | undefined {
    const account = emailNormalized === "" ? undefined : this.#digestOf(emailNormalized);
    const facts = { reason: of };
    if (of !== "account" || account === undefined) {
      const about = networkOf(clientIp);
      this.#deps.refusals.note({ kind: "login.throttled", room: "network", about, subjectId: "", clientIp, facts });
    } else {
      void this.#userIdOf(account, emailNormalized).then((userId) =>
        this.#note("login.throttled", { account, userId, clientIp }, { facts }),
      );
    }
    return account;
  }

  #note(
    kind: "login.failed" | "login.throttled",
    { account, userId, clientIp }: { readonly account: string; readonly userId: string; readonly clientIp: string },
    more: { readonly facts?: { readonly reason: string }; readonly tally?: string },
  ): void {
    const facts = { account, ...more.facts };
    const room = userId === "" ? "unknown" : "known";
    this.#deps.refusals.note({ kind, room, about: userId || account, subjectId: userId, clientIp, ...more, facts });
  }

  /**
   * The user id of an account, or empty if there is none. Costs one read for each remembered account. An account is
   * throttled only after five failures, so an invented one costs its caller five hashes for one read here. Never
   * rejects.
   */
  #userIdOf(account: string, emailNormalized: string): Promise<string> {
    const remembered = this.#userIds.get(account);
    if (remembered !== undefined) return remembered;
    const asked = this.#deps.users.secretsByEmail(emailNormalized).then(
      (found) => found?.user.id ?? "",
      () => {
        // It is unknown whether the account exists, so the next attempt reads again.
        this.#userIds.delete(account);
        return "";
      },
    );
    this.#userIds.set(account, asked);
    return asked;
  }

  /**
   * The digest by which the trail names an account. It is under the current master key version, so it changes when the
   * master key is rotated.
   */
  #digestOf(emailNormalized: string): string {
    return createHmac("sha256", this.#deps.ring.currentKey("email-digest"))
      .update(emailNormalized)
      .digest("hex")
      .slice(0, DIGEST_CHARACTERS);
  }
}
