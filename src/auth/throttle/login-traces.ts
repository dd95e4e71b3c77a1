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

/** An attempt, as far as traces are concerned. */
export interface TracedAttempt {
  readonly clientIp: string;
  /** Normalised address, whether or not there is such an account. */
  readonly emailNormalized: string;
}

/** Accounts of which it is remembered whether they exist. */
const MAX_REMEMBERED = 10_000;
/** 64 bits: enough to tell accounts apart, and short enough to read. */
const DIGEST_CHARACTERS = 16;

/**
 * Puts failed and throttled attempts on record. The trail names an account by its user id where there is one, and by a
 * digest of its address in any case; neither the trail nor the log has the address. Accounts that exist share no room
 * with invented ones (see audit/refusal-rooms.ts).
 */
export class LoginTraces {
  readonly #deps: LoginTracesDeps;
  /** User id by digest, or the empty text where there is no account. */
  readonly #userIds = new Lru<string, Promise<string>>(MAX_REMEMBERED);

  constructor(deps: LoginTracesDeps) {
    this.#deps = deps;
  }

  /**
   * A password was wrong.
   *
   * @param userId empty where there is no such account
   * @param reason what was tried with it
   * @returns the account's digest, for the log
   */
  failed({ emailNormalized, clientIp }: TracedAttempt, userId: string, reason: "login" | "change_password"): string {
    const account = this.#digestOf(emailNormalized);
    this.#userIds.set(account, Promise.resolve(userId));
    this.#note("login.failed", { account, userId, clientIp }, { tally: `by ${reason}` });
    return account;
  }

  /**
   * An attempt has to wait: for the account's failures, or for those of its address whatever it tried.
   * @returns the account's digest, for the log; undefined where the attempt was refused before its account was known
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
   * Asks at most once for each account that is remembered. Only an account that failed five times is throttled, so that
   * invented ones cost five hashes for each question. Never rejects.
   */
  #userIdOf(account: string, emailNormalized: string): Promise<string> {
    const remembered = this.#userIds.get(account);
    if (remembered !== undefined) return remembered;
    const asked = this.#deps.users.secretsByEmail(emailNormalized).then(
      (found) => found?.user.id ?? "",
      () => {
        // It is not known whether the account exists: the next attempt asks again.
        this.#userIds.delete(account);
        return "";
      },
    );
    this.#userIds.set(account, asked);
    return asked;
  }

  /** Under the current version of the master key: what a log and a trail call an account changes with its rotation. */
  #digestOf(emailNormalized: string): string {
    return createHmac("sha256", this.#deps.ring.currentKey("email-digest"))
      .update(emailNormalized)
      .digest("hex")
      .slice(0, DIGEST_CHARACTERS);
  }
}
