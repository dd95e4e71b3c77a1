import { setTimeout as pause } from "node:timers/promises";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  ErrorInfoSchema,
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
 * The outcome of a lost change. "open": not repeated, for lack of --apply. "refused": the service would not do it, or
 * gave no answer; the reason is the service's, or the code of the call. "lost": issued since the backup, and unknown
 * now.
 */
export type Outcome = "open" | "done" | "was so" | "unknown here" | `refused: ${string}` | "decide" | "lost";

/** For the audit trail of the restored database. */
const REASON = "repeated from the audit trail of a lost database";
const PAGE_SIZE = 250;
/** How often a change is tried while the service is unavailable, or another change is in its way. */
const TRIES = 5;
/** Between those tries, if the service does not say how long a caller has to wait. */
const WAIT_MS = 1000;
/** How often a change waits because this caller made too many changes. The service counts by the minute. */
const MOST_LIMITED = 20;
/** A service that asks for a longer wait is not waited for. */
const MOST_WAIT_MS = 120_000;
const REASON_OF_SERVICE = /^[A-Z][A-Z_]{1,63}$/;

type Standing = "open" | "was so" | "unknown here";

/** Waits. @throws if the signal aborts */
type Pause = (ms: number, signal: AbortSignal) => Promise<void>;

/** Repeats lost changes, or only says which of them the restored database lacks. */
export class Repetition {
  readonly #invocation: Pick<Invocation, "io" | "progress" | "keys" | "admin" | "call">;
  readonly #applies: boolean;
  readonly #pause: Pause;
  /** One, once a change was given up because the service is unavailable: a long list must come to its end. */
  #tries = TRIES;
  /** Id -> whether it is revoked. */
  readonly #credentialStates = keptOnceKnown(() => this.#listCredentials());
  readonly #signingKeyStates = keptOnceKnown(() => this.#listSigningKeys());

  /** @param wait default: a timer */
  constructor(
    invocation: Pick<Invocation, "io" | "progress" | "keys" | "admin" | "call">,
    applies: boolean,
    wait: Pause = (ms, signal) => pause(ms, undefined, { signal }),
  ) {
    this.#invocation = invocation;
    this.#applies = applies;
    this.#pause = wait;
  }

  /** An error is an outcome too, so that one change does not keep the later ones. @throws only after an interrupt */
  async repeat(change: LostChange): Promise<Outcome> {
    try {
      return await this.#patiently(() => this.#attempt(change));
    } catch (error) {
      if (this.#invocation.io.signal.aborted) throw error;
      const { code } = ConnectError.from(error);
      return code === Code.NotFound ? "unknown here" : `refused: ${reasonOf(error)}`;
    }
  }

  async #attempt({ subjectId, todo, event }: LostChange): Promise<Outcome> {
    if (todo === "issued") return (await this.#state(subjectId)) === undefined ? "lost" : "was so";
    if (todo === "decide") return this.#standingOfDecision(subjectId, event.kind.endsWith(".enabled"));
    const standing = await this.#standing(todo, subjectId);
    if (standing !== "open" || !this.#applies) return standing;
    await this.#call(todo, subjectId);
    return "done";
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

  /** Tries again what another attempt may do. Each change is made once, however often it is called. */
  async #patiently(attempt: () => Promise<Outcome>): Promise<Outcome> {
    const { io, progress } = this.#invocation;
    for (let [tries, limited] = [1, 0]; ; ) {
      try {
        const outcome = await attempt();
        this.#tries = TRIES;
        return outcome;
      } catch (error) {
        const { code } = ConnectError.from(error);
        const delayMs = delayOf(error);
        if (io.signal.aborted || (delayMs ?? 0) > MOST_WAIT_MS) throw error;
        if (code === Code.ResourceExhausted && delayMs !== undefined && limited++ < MOST_LIMITED) {
          progress.tell("waiting, because the service limits the rate of changes");
        } else if ((code === Code.Unavailable || code === Code.Aborted) && tries++ < this.#tries) {
          progress.tell("waiting, because the service could not make a change now");
        } else {
          if (code === Code.Unavailable) this.#tries = 1;
          throw error;
        }
        await this.#pause(delayMs ?? WAIT_MS, io.signal);
      }
    }
  }

  async #listCredentials(): Promise<ReadonlyMap<string, boolean>> {
    const { admin, call } = this.#invocation;
    const states = new Map<string, boolean>();
    let pageToken = "";
    do {
      const page = await admin.listServiceCredentials({ pageSize: PAGE_SIZE, pageToken, showEnded: true }, call);
      for (const { id, state } of page.credentials) states.set(id, state === ServiceCredential_State.REVOKED);
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    return states;
  }

  async #listSigningKeys(): Promise<ReadonlyMap<string, boolean>> {
    const { admin, call } = this.#invocation;
    const { keys } = await admin.listSigningKeys({}, call);
    return new Map(keys.map(({ id, state }) => [id, state === SigningKey_State.REVOKED]));
  }
}

/** Asks once, and keeps the answer. A failure is not kept. */
function keptOnceKnown<T>(ask: () => Promise<T>): () => Promise<T> {
  let answer: Promise<T> | undefined;
  return () => {
    answer ??= ask().catch((error: unknown) => {
      answer = undefined;
      throw error;
    });
    return answer;
  };
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

/** How long the service asks to wait; undefined if it does not say. */
function delayOf(error: unknown): number | undefined {
  const delay = ConnectError.from(error).findDetails(RetryInfoSchema)[0]?.retryDelay;
  return delay === undefined ? undefined : msOf(delay);
}

/** The service's reason, such as LAST_ADMIN_CREDENTIAL; otherwise the name of the code. */
function reasonOf(error: unknown): string {
  const refusal = ConnectError.from(error);
  const reason = refusal.findDetails(ErrorInfoSchema)[0]?.reason ?? "";
  return REASON_OF_SERVICE.test(reason) ? reason : Code[refusal.code];
}
