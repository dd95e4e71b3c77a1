import { Change_Kind as Kind } from "../../src/gen/latchkey/v1/change_pb.ts";
import type { AgeClock, Timers } from "../../src/lib/clock.ts";
import { type AccessTokenVerdict, KEY_SET_LAG_MS, type VerifiedUser } from "./access-tokens.ts";
import { LatchkeyUnavailable } from "./errors.ts";
import type { NearCache } from "./near/near-cache.ts";
import type { AppliedMessage } from "./near/stream-attempt.ts";
import type { Verdict, VerifyRequest } from "./verdict.ts";

/** Told once, at the end of a watch: the refusal, or LatchkeyUnavailable if no answer knew of a change in time. */
export type OnEnd<V> = (end: V | LatchkeyUnavailable) => void;

export interface LastingVerdictsDeps {
  /** Judges a key by a call that counts nothing. */
  readonly judgeKey: (request: VerifyRequest) => Promise<Verdict>;
  readonly cache: Pick<NearCache, "standingOf" | "cursor">;
  /** Opens the stream of changes, if it is not open. */
  readonly openStream: () => void;
  readonly clock: AgeClock;
  readonly timers: Timers;
}

/** A change that a verdict must know of. */
interface Told {
  readonly epoch: bigint;
  readonly position: bigint;
  /** `elapsedMs` at which the stream told it. */
  readonly toldAtMs: number;
  /** `elapsedMs` from which the time for an answer runs. */
  readonly sinceMs: number;
}

/** The facts that a verdict rests on: all changes up to a position, and all that were told up to a moment. */
interface Basis {
  readonly epoch: bigint;
  readonly position: bigint;
  /** `elapsedMs`, never too late. */
  readonly trueAtMs: number;
}

interface Judged {
  readonly verdict: { readonly valid: boolean };
  /** Absent: the answer knows of all that was told before its call. */
  readonly basis?: Basis;
}

interface Listener {
  readonly onEnd: (end: never) => void;
}

/** One credential with one set of needs, and all that live by its verdict. */
interface Watch {
  readonly name: string;
  /** The ids whose changes concern it. */
  readonly subjectIds: readonly string[];
  readonly judge: () => Promise<Judged>;
  readonly listeners: Set<Listener>;
  basis: Basis;
  /** The change that is asked about; undefined if the verdict knows of all. */
  asked: Told | undefined;
  /** A change that was told meanwhile. */
  later: Told | undefined;
  cancelLimit: () => void;
  cancelAgain: () => void;
}

/** An answer that does not know of the change is asked for again after this. */
const AGAIN_MS = 500;
/** Time for an answer that knows of a change. */
const LONGEST_MS = 5000;
/** Calls under way at most: calls for keys go as one batch of the group commit. */
const MAX_UNDER_WAY = 100;
const UNKNOWN: Basis = Object.freeze({ epoch: 0n, position: 0n, trueAtMs: Number.NEGATIVE_INFINITY });

/**
 * The verdicts that streams live by. Each is judged again whenever the stream of changes tells of its key, owner or
 * session, or may have missed changes. All streams of one key with the same needs share one call (single-flight).
 *
 * An answer counts only if it knows of the change: by its position, or because its data were read after the change was
 * told. Other answers say nothing, so the service is asked again each 0.5 s. After 5 s the verdict has ended.
 *
 * The raw key or token stays in memory for as long as something lives by its verdict.
 */
export class LastingVerdicts {
  readonly #deps: LastingVerdictsDeps;
  readonly #watches = new Map<string, Watch>();
  readonly #bySubject = new Map<string, Set<Watch>>();
  /** A FIFO queue. */
  readonly #waiting = new Set<Watch>();
  #underWay = 0;
  #closedBy: LatchkeyUnavailable | undefined;

  constructor(deps: LastingVerdictsDeps) {
    this.#deps = deps;
  }

  /** Number of credentials, each with its needs, that something lives by. */
  get size(): number {
    return this.#watches.size;
  }

  /** As Latchkey.watchKey. */
  key(request: VerifyRequest, verdict: Verdict, onEnd: OnEnd<Verdict>): () => void {
    if (!verdict.valid || verdict.key === undefined) throw new TypeError("watchKey: the verdict must be VALID");
    const { apiKey, requiredScopes, allowedTiers, clientIp, method, environment } = request;
    const use = { requiredScopes, allowedTiers, clientIp, method, environment };
    const subjectIds = [verdict.key.id, verdict.key.ownerId];
    const { epoch = 0n, position = 0n } = verdict;
    const judge = async () => {
      const beganAtMs = this.#deps.clock.elapsedMs();
      const judged = await this.#deps.judgeKey({ apiKey, ...use });
      const { epoch = 0n, position = 0n, ageMs } = judged;
      return { verdict: judged, basis: { epoch, position, trueAtMs: beganAtMs - ageMs } };
    };
    const name = JSON.stringify(["key", apiKey, use]);
    const watch = this.#watchOf(name, subjectIds, judge, { ...UNKNOWN, epoch, position });
    const end = this.#listen(watch, { onEnd });
    // A change that was told before the verdict came is not told again.
    const standing = this.#deps.cache.standingOf({ epoch, position: Number(position) }, subjectIds);
    const mayLackChanges = standing === "refused" || (standing === "by_own_age" && this.#deps.cache.cursor !== "");
    if (mayLackChanges) this.#tell(watch, this.#toldNow());
    return end;
  }

  /** As Latchkey.watchAccessToken. @param verify judges the token */
  token(
    token: string,
    { sessionId }: Pick<VerifiedUser, "sessionId">,
    verify: () => Promise<AccessTokenVerdict>,
    onEnd: OnEnd<AccessTokenVerdict>,
  ): () => void {
    const judge = async () => ({ verdict: await verify() });
    const watch = this.#watchOf(JSON.stringify(["token", token]), [sessionId, ANY_TOKEN], judge, UNKNOWN);
    const end = this.#listen(watch, { onEnd });
    // The session may have ended between the verdict and now: the stream's own knowledge answers without a call.
    this.#tell(watch, this.#toldNow());
    return end;
  }

  /** The stream of changes told this. */
  applied({ mayChangeAll, changes, epoch, position }: AppliedMessage): void {
    if (this.#watches.size === 0) return;
    const now = this.#toldNow();
    if (mayChangeAll) this.#tellAll({ ...now, epoch, position });
    for (const change of changes) {
      const told = { ...now, epoch, position: change.position === 0n ? position : change.position };
      for (const watch of this.#bySubject.get(change.subjectId) ?? []) this.#tell(watch, told);
    }
    if (mayChangeAll || changes.some(({ kind }) => kind === Kind.SIGNING_KEY)) this.#tellTokens();
  }

  /** Ends all watches. */
  close(error: LatchkeyUnavailable): void {
    this.#closedBy = error;
    for (const watch of this.#watches.values()) this.#end(watch, error);
  }

  #toldNow(): Told {
    const nowMs = this.#deps.clock.elapsedMs();
    return { epoch: 0n, position: 0n, toldAtMs: nowMs, sinceMs: nowMs };
  }

  #tellAll(told: Told): void {
    for (const watch of this.#watches.values()) this.#tell(watch, told);
  }

  /** News that a process of the service may learn late: tokens are judged at once, and when every process knows it. */
  #tellTokens(): void {
    const tell = () => {
      const now = this.#toldNow();
      for (const watch of this.#bySubject.get(ANY_TOKEN) ?? []) this.#tell(watch, now);
    };
    tell();
    if (this.#bySubject.has(ANY_TOKEN)) this.#deps.timers.after(KEY_SET_LAG_MS, tell);
  }

  #watchOf(name: string, subjectIds: readonly string[], judge: Watch["judge"], basis: Basis): Watch {
    const known = this.#watches.get(name);
    if (known !== undefined) return known;
    const none = () => {};
    const watch: Watch = {
      ...{ name, subjectIds, judge, basis, listeners: new Set<Listener>() },
      ...{ asked: undefined, later: undefined, cancelLimit: none, cancelAgain: none },
    };
    this.#watches.set(name, watch);
    for (const id of subjectIds) this.#bySubject.set(id, (this.#bySubject.get(id) ?? new Set()).add(watch));
    return watch;
  }

  /** @returns ends the listener's part of the watch */
  #listen(watch: Watch, listener: Listener): () => void {
    watch.listeners.add(listener);
    const closedBy = this.#closedBy;
    if (closedBy !== undefined) this.#deps.timers.nextTurn(() => this.#end(watch, closedBy));
    else this.#deps.openStream();
    return () => {
      watch.listeners.delete(listener);
      if (watch.listeners.size === 0) this.#forget(watch);
    };
  }

  #tell(watch: Watch, told: Told): void {
    const { asked, later } = watch;
    if (asked !== undefined) {
      watch.later = later === undefined ? told : together(later, told);
      return;
    }
    if (knows(watch.basis, told)) return;
    watch.asked = told;
    const { clock, timers } = this.#deps;
    const leftMs = Math.max(0, told.sinceMs + LONGEST_MS - clock.elapsedMs());
    watch.cancelLimit = timers.after(leftMs, () => this.#end(watch, tooLate()));
    this.#enqueue(watch);
  }

  #enqueue(watch: Watch): void {
    this.#waiting.add(watch);
    for (const next of this.#waiting) {
      if (this.#underWay >= MAX_UNDER_WAY) return;
      this.#waiting.delete(next);
      this.#underWay++;
      void this.#ask(next);
    }
  }

  async #ask(watch: Watch): Promise<void> {
    const judged = await watch.judge().catch(() => undefined);
    this.#underWay--;
    if (watch.listeners.size > 0) this.#answered(watch, judged);
    const [next] = this.#waiting;
    if (next !== undefined) this.#enqueue(next);
  }

  #answered(watch: Watch, judged: Judged | undefined): void {
    if (judged === undefined || (judged.basis !== undefined && !knows(judged.basis, watch.asked!))) {
      watch.cancelAgain = this.#deps.timers.after(AGAIN_MS, () => this.#enqueue(watch));
      return;
    }
    if (!judged.verdict.valid) {
      this.#end(watch, judged.verdict);
      return;
    }
    watch.cancelLimit();
    const { later } = watch;
    [watch.basis, watch.asked, watch.later] = [judged.basis ?? UNKNOWN, undefined, undefined];
    if (later !== undefined) this.#tell(watch, later);
  }

  #end(watch: Watch, end: object): void {
    const listeners = [...watch.listeners];
    watch.listeners.clear();
    this.#forget(watch);
    for (const { onEnd } of listeners) {
      try {
        onEnd(end as never);
      } catch {
        // A listener's fault must not keep others alive.
      }
    }
  }

  #forget(watch: Watch): void {
    watch.cancelLimit();
    watch.cancelAgain();
    this.#waiting.delete(watch);
    if (this.#watches.get(watch.name) === watch) this.#watches.delete(watch.name);
    for (const id of watch.subjectIds) {
      const watches = this.#bySubject.get(id);
      watches?.delete(watch);
      if (watches?.size === 0) this.#bySubject.delete(id);
    }
  }
}

/** Stands among the subjects of each token: no id looks like it. */
const ANY_TOKEN = "any token";

/** Whether a verdict knows of a change. Positions compare within one epoch. */
function knows(basis: Basis, told: Told): boolean {
  const isAbove = told.epoch !== 0n && basis.epoch === told.epoch && basis.position >= told.position;
  return isAbove || basis.trueAtMs > told.toldAtMs;
}

/** One change that is known only where both are. */
function together(earlier: Told, told: Told): Told {
  const isOfOneEpoch = earlier.epoch === told.epoch && earlier.position > told.position;
  return { ...told, position: isOfOneEpoch ? earlier.position : told.position, sinceMs: earlier.sinceMs };
}

function tooLate(): LatchkeyUnavailable {
  return new LatchkeyUnavailable(`no answer of the service knew of a change within ${LONGEST_MS} ms`);
}
