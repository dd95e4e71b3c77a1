import { atMost } from "../lib/at-most.ts";
import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import { Lru } from "../lib/lru.ts";
import type { AuditEntry, RefusalKind } from "./audit-event.ts";
import type { AuditStore } from "./audit-store.ts";

export interface RefusalRecorderDeps {
  readonly audit: Pick<AuditStore, "record">;
  readonly clock: Clock;
  readonly log: Log;
}

/** An attempt that was refused and should be on record. */
export interface Refusal extends Omit<AuditEntry, "kind" | "actorId" | "subjectId"> {
  readonly kind: RefusalKind;
  /** Whom it is about: of each kind at most one event for each in a while. Stays in memory, and so may be an address. */
  readonly about: string;
  /** Found out when the event is written, so that the call that was refused never waits for it. */
  readonly subjectId: () => string | Promise<string>;
}

/** What is remembered of one subject. */
interface Recent {
  /** Taken back when the event could not be written. */
  recordedAtMs: number;
  /** Refusals since, which are in no event yet. */
  unrecorded: number;
}

/** How long further refusals of the same kind and subject are only counted. */
const QUIET_MS = 600_000;
/** Events of one kind that a process writes in a minute; what is beyond is in the log, as a number. */
const PER_MINUTE = 10;
const MINUTE_MS = 60_000;
const LAST_WRITES_MS = 1000;
/** Only what has an event is remembered, so that this is never reached but by a clock that stands still. */
const MAX_REMEMBERED = 1000;

/**
 * Puts refused attempts on record, bounded in number however many there are: attackers choose how often they are
 * refused, and must choose neither how fast the trail grows nor what is crowded out of it, so each kind has its own room.
 * Written behind the calls, one at a time; a call neither waits for it nor fails by it. What can't be written is lost with
 * a warning, but for its number, which the next event of the subject has.
 */
export class RefusalRecorder {
  readonly #deps: RefusalRecorderDeps;
  readonly #recent = new Lru<string, Recent>(MAX_REMEMBERED);
  readonly #minutes = new Map<RefusalKind, { readonly beganAtMs: number; events: number; left: number }>();
  #writing: Promise<void> = Promise.resolve();

  constructor(deps: RefusalRecorderDeps) {
    this.#deps = deps;
  }

  /** Never throws, never waits. */
  note(refusal: Refusal): void {
    const nowMs = this.#deps.clock.monotonicMs();
    const name = `${refusal.kind} ${refusal.about}`;
    const recent = this.#recent.get(name);
    if (recent !== undefined && nowMs - recent.recordedAtMs < QUIET_MS) {
      recent.unrecorded++;
      return;
    }
    if (!this.#hasRoom(refusal.kind, nowMs)) return;
    const marked = { recordedAtMs: nowMs, unrecorded: 0 };
    this.#recent.set(name, marked);
    this.#writing = this.#writing.then(() => this.#write(refusal, recent?.unrecorded ?? 0, marked));
  }

  /** Resolves when what was noted is written, or lost. */
  settled(): Promise<void> {
    return this.#writing;
  }

  /** Waits for what was noted, but no longer than a second: one write to a frozen database takes longer. */
  stop(): Promise<void> {
    return atMost(LAST_WRITES_MS, this.settled());
  }

  #hasRoom(kind: RefusalKind, nowMs: number): boolean {
    let minute = this.#minutes.get(kind);
    if (minute === undefined || nowMs - minute.beganAtMs >= MINUTE_MS) {
      if (minute !== undefined && minute.left > 0) {
        this.#deps.log.warn("more was refused than is put on record", { kind, left_out: minute.left });
      }
      minute = { beganAtMs: nowMs, events: 0, left: 0 };
      this.#minutes.set(kind, minute);
    }
    if (minute.events < PER_MINUTE) {
      minute.events++;
      return true;
    }
    minute.left++;
    return false;
  }

  async #write({ kind, subjectId, clientIp, details }: Refusal, before: number, marked: Recent): Promise<void> {
    try {
      const entry = { kind, actorId: "", subjectId: await subjectId(), clientIp };
      const refusedBefore: Record<string, string> = before === 0 ? {} : { refused_before: `${before}` };
      await this.#deps.audit.record({ ...entry, details: { ...details, ...refusedBefore } });
    } catch {
      // The next refusal is the one on record, and says how many there were before it.
      marked.recordedAtMs = Number.NEGATIVE_INFINITY;
      marked.unrecorded += before + 1;
      this.#deps.log.warn("a refusal could not be put on record", { kind });
    }
  }
}

/** Someone holds the secret of a service credential that was taken out of use, or went out of it. */
export function noteRefusedCredential(
  recorder: Pick<RefusalRecorder, "note">,
  credentialId: string,
  reason: string,
  clientIp: string,
): void {
  const subjectId = () => credentialId;
  recorder.note({ kind: "credential.refused", about: credentialId, subjectId, clientIp, details: { reason } });
}
