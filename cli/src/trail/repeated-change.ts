import { setTimeout as pause } from "node:timers/promises";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  Key_State,
  RetryInfoSchema,
  ServiceCredential_State,
  SigningKey_State,
  User_State,
} from "@latchkey/client/contract";
import type { Invocation } from "../invocation.ts";
import { msOf } from "../times.ts";
import type { LostChange, Repeat } from "./lost-changes.ts";

/**
 * The outcome of a lost change. "open": not repeated, for lack of --apply. "refused": the service would not do it.
 * "lost": issued since the backup, and unknown now.
 */
export type Outcome = "open" | "done" | "was so" | "unknown here" | "refused" | "decide" | "lost";

/** For the audit trail of the restored database. */
const REASON = "repeated from the audit trail of a lost database";
const PAGE_SIZE = 250;
/** If the service does not say how long a caller has to wait. */
const WAIT_MS = 1000;

type Standing = "open" | "was so" | "unknown here";

/** Repeats lost changes, or only says which of them the restored database lacks. */
export class Repetition {
  readonly #invocation: Invocation;
  readonly #applies: boolean;
  #credentials: Promise<ReadonlyMap<string, boolean>> | undefined;
  #signingKeys: Promise<ReadonlyMap<string, boolean>> | undefined;

  constructor(invocation: Invocation, applies: boolean) {
    this.#invocation = invocation;
    this.#applies = applies;
  }

  /** @throws ConnectError if the service is unreachable or refuses the caller */
  async repeat({ subjectId, todo, event }: LostChange): Promise<Outcome> {
    if (todo === "issued") return (await this.#state(subjectId)) === undefined ? "lost" : "was so";
    if (todo === "decide") return this.#standingOfDecision(subjectId, event.kind.endsWith(".enabled"));
    const standing = await this.#standing(todo, subjectId);
    if (standing !== "open" || !this.#applies) return standing;
    try {
      await this.#patiently(() => this.#call(todo, subjectId));
      return "done";
    } catch (error) {
      const { code } = ConnectError.from(error);
      // Such as the last admin credential, or the credential of this command.
      if (code === Code.FailedPrecondition || code === Code.InvalidArgument) return "refused";
      throw error;
    }
  }

  /** No decision is needed for a subject that is unknown, revoked, or usable after it had been enabled. */
  async #standingOfDecision(subjectId: string, wasEnabled: boolean): Promise<Outcome> {
    const state = await this.#state(subjectId);
    if (state === undefined) return "unknown here";
    return state === "revoked" || (wasEnabled && state === "usable") ? "was so" : "decide";
  }

  /** Of a key, a credential or a person. */
  async #state(subjectId: string): Promise<"usable" | "disabled" | "revoked" | undefined> {
    const { keys, admin, call } = this.#invocation;
    if (subjectId.startsWith("svc_")) {
      const isRevoked = (await this.#credentialStates()).get(subjectId);
      return isRevoked === undefined ? undefined : isRevoked ? "revoked" : "usable";
    }
    if (subjectId.startsWith("usr_")) {
      const user = (await known(admin.getUser({ userId: subjectId }, call)))?.user;
      return user && (user.state === User_State.DISABLED ? "disabled" : "usable");
    }
    const key = (await known(keys.getKey({ keyId: subjectId }, call)))?.key;
    if (key?.state === Key_State.REVOKED) return "revoked";
    return key && (key.state === Key_State.DISABLED ? "disabled" : "usable");
  }

  async #standing(todo: Repeat, subjectId: string): Promise<Standing> {
    if (todo === "revoke signing key") {
      const isRevoked = (await this.#signingKeyStates()).get(subjectId);
      return isRevoked === undefined ? "unknown here" : isRevoked ? "was so" : "open";
    }
    const state = await this.#state(subjectId);
    if (state === undefined) return "unknown here";
    // A deleted key is unknown, and the sessions of others can't be seen.
    if (todo === "delete key" || todo === "end sessions") return "open";
    const isDisabled = todo === "disable key" || todo === "disable person";
    return state === "revoked" || (isDisabled && state === "disabled") ? "was so" : "open";
  }

  #call(todo: Repeat, subjectId: string): Promise<unknown> {
    const { keys, admin, call } = this.#invocation;
    switch (todo) {
      case "revoke key":
        return keys.revokeKey({ keyId: subjectId, reason: REASON }, call);
      case "delete key":
        return keys.deleteKey({ keyId: subjectId }, call);
      case "disable key":
        return keys.disableKey({ keyId: subjectId }, call);
      case "disable person":
        return admin.disableUser({ userId: subjectId }, call);
      case "end sessions":
        return admin.endUserSessions({ userId: subjectId }, call);
      case "revoke credential":
        return admin.revokeServiceCredential({ credentialId: subjectId, reason: REASON }, call);
      case "revoke signing key":
        return admin.revokeSigningKey({ keyId: subjectId }, call);
      default:
        return todo satisfies never;
    }
  }

  /** Waits as long as the service asks, if it has had too many changes of this caller. */
  async #patiently(call: () => Promise<unknown>): Promise<void> {
    const { io, progress } = this.#invocation;
    for (;;) {
      try {
        await call();
        return;
      } catch (error) {
        const refusal = ConnectError.from(error);
        if (refusal.code !== Code.ResourceExhausted) throw error;
        const delay = refusal.findDetails(RetryInfoSchema)[0]?.retryDelay;
        progress.tell("waiting, because the service limits the rate of changes");
        await pause(delay === undefined ? WAIT_MS : msOf(delay), undefined, { signal: io.signal });
      }
    }
  }

  /** Id -> whether it is revoked. */
  #credentialStates(): Promise<ReadonlyMap<string, boolean>> {
    const { admin, call } = this.#invocation;
    const ask = async () => {
      const states = new Map<string, boolean>();
      let pageToken = "";
      do {
        const page = await admin.listServiceCredentials({ pageSize: PAGE_SIZE, pageToken, showEnded: true }, call);
        for (const { id, state } of page.credentials) states.set(id, state === ServiceCredential_State.REVOKED);
        pageToken = page.nextPageToken;
      } while (pageToken !== "");
      return states;
    };
    this.#credentials ??= ask();
    return this.#credentials;
  }

  #signingKeyStates(): Promise<ReadonlyMap<string, boolean>> {
    const { admin, call } = this.#invocation;
    const ask = async () => {
      const { keys } = await admin.listSigningKeys({}, call);
      return new Map(keys.map(({ id, state }) => [id, state === SigningKey_State.REVOKED]));
    };
    this.#signingKeys ??= ask();
    return this.#signingKeys;
  }
}

/** The answer; undefined if the service does not know the id. */
async function known<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (ConnectError.from(error).code === Code.NotFound) return undefined;
    throw error;
  }
}
