import type { Clock, Timers } from "../lib/clock.ts";
import { reasonOf } from "../lib/errors.ts";
import { networksOf } from "../lib/ip.ts";
import type { Log } from "../lib/log.ts";
import { settleWithin } from "../lib/settle-within.ts";
import type { RefusalKind } from "./audit-event.ts";
import type { AuditStore } from "./audit-store.ts";
import { added, type CountedDetails, type CountedEntry } from "./counted-event.ts";
import { RefusalRoom, type RefusalRoomName } from "./refusal-rooms.ts";

export interface RefusalRecorderDeps {
  readonly audit: Pick<AuditStore, "count">;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly log: Log;
}

/** An attempt that failed or was refused, and must be recorded. */
export interface Refusal {
  readonly kind: RefusalKind;
  readonly room: RefusalRoomName;
  /**
   * Refusals with the same kind, room and `about` are one event an hour. At most 64 characters, never an e-mail
   * address.
   */
  readonly about: string;
  /** The caller, if a valid credential proved who they are. */
  readonly actorId?: string;
  /** Empty if there is no subject. */
  readonly subjectId: string;
  readonly clientIp: string;
  /** Facts by names of one word. The event keeps the latest value of the hour. */
  readonly facts?: Readonly<Record<string, string>>;
  /** Two words, such as `by login`. The event counts how often each occurred. */
  readonly tally?: string;
}

/** Maximum events that a process writes in a second, by room, so that no room delays another. */
const WRITES_PER_SECOND: Readonly<Record<RefusalRoomName, number>> = { known: 8, unknown: 4, network: 4 };
const ROOMS = ["known", "unknown", "network"] as const;
const SECOND_MS = 1000;
/** Maximum time for the last writes when the process stops. */
const LAST_WRITES_MS = 1000;
/** Maximum waiting events of one room. Only an outage of the database for hours can reach it. */
const MAX_WAITING = 2000;

/**
 * Records attempts that failed or were refused. Attackers choose how often they are refused. They must not choose how
 * fast the audit trail grows, or which events are lost in it. So:
 *
 * - All refusals of one kind about one subject in one hour are one event, which counts them.
 * - Subjects that exist (accounts, credentials), accounts that don't exist, and networks have separate rooms
 *   (refusal-rooms.ts). Each room has a bounded number of events.
 * - The shared event of a kind and room counts all subjects without an event of their own.
 * - Events are written in the background: the first one at once, further counts at most once a second.
 *
 * A call neither waits for a write nor fails because of one. While the database is unreachable, counts wait in memory.
 * If the process ends before it has written them, they are lost, and it logs a warning.
 */
export class RefusalRecorder {
  readonly #deps: RefusalRecorderDeps;
  readonly #rooms = new Map<string, RefusalRoom>();
  /** Waiting entries of each room by `keyOf`, in the order in which they began to wait. */
  readonly #entries: Readonly<Record<RefusalRoomName, Map<string, CountedEntry>>> = {
    known: new Map(),
    unknown: new Map(),
    network: new Map(),
  };
  #writer: Promise<void> | undefined;
  #isStopping = false;
  #isFailing = false;
  #failures = 0;
  #wake = () => {};

  constructor(deps: RefusalRecorderDeps) {
    this.#deps = deps;
  }

  /** Notes a refusal. Never throws, never waits. */
  note(refusal: Refusal): void {
    const { kind, room, about, actorId = "", subjectId, clientIp, facts } = refusal;
    const { isOwn, countedBefore } = this.#roomOf(kind, room).enter(about, this.#deps.clock.nowMs());
    const details = detailsOf(refusal);
    const before: Record<string, string> = countedBefore === 0 ? {} : { count_before: String(countedBefore) };
    const own = { kind, about: `${room} ${about}`, actorId, subjectId, clientIp };
    this.#wait(room, isOwn ? { ...own, details: { ...facts, ...before, ...details } } : sharedEntry(refusal, details));
  }

  /** Resolves when all noted refusals are written. For tests. */
  settled(): Promise<void> {
    return this.#writer ?? Promise.resolve();
  }

  /** Writes the waiting events for at most a second, because a write to a frozen database may take longer. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#wake();
    await settleWithin(LAST_WRITES_MS, this.settled());
    const events = this.waiting;
    if (events > 0) this.#deps.log.warn("refusals of the last seconds are not in the audit trail", { events });
  }

  /** Number of writes that failed since the start. */
  get failures(): number {
    return this.#failures;
  }

  /** Number of waiting events. */
  get waiting(): number {
    return Object.values(this.#entries).reduce((sum, { size }) => sum + size, 0);
  }

  #roomOf(kind: RefusalKind, name: RefusalRoomName): RefusalRoom {
    const key = `${kind} ${name}`;
    const room = this.#rooms.get(key) ?? new RefusalRoom(name);
    this.#rooms.set(key, room);
    return room;
  }

  #wait(room: RefusalRoomName, entry: CountedEntry): void {
    const waiting = this.#entries[room];
    const isFull = waiting.size >= MAX_WAITING && !waiting.has(keyOf(entry));
    add(waiting, isFull ? sharedEntry({ ...entry, room }, entry.details) : entry);
    this.#writer ??= this.#write();
  }

  async #write(): Promise<void> {
    do {
      for (const room of ROOMS) {
        await this.#writeSome(this.#entries[room], this.#isStopping ? MAX_WAITING : WRITES_PER_SECOND[room]);
      }
      if (this.#isStopping && this.#isFailing) break;
      if (!this.#isStopping) await this.#pause();
    } while (this.waiting > 0);
    this.#writer = undefined;
  }

  /** Waits a second, so that each event is written at most once a second. */
  #pause(): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#deps.timers.after(SECOND_MS, resolve);
      this.#wake = () => {
        cancel();
        resolve();
      };
    });
  }

  async #writeSome(waiting: Map<string, CountedEntry>, most: number): Promise<void> {
    for (const key of [...waiting.keys()].slice(0, most)) {
      // Looked up only now, because more may have been added while another entry was written.
      const entry = waiting.get(key)!;
      waiting.delete(key);
      try {
        await this.#deps.audit.count(entry);
        this.#isFailing = false;
      } catch (error) {
        addBefore(waiting, entry);
        this.#failed(error);
        return;
      }
    }
  }

  #failed(error: unknown): void {
    this.#failures++;
    if (this.#isFailing) return;
    this.#isFailing = true;
    const fields = { events: this.waiting, reason: reasonOf(error) };
    this.#deps.log.warn("refusals wait to be written to the audit trail; trying again each second", fields);
  }
}

function detailsOf({ clientIp, tally }: Refusal): CountedDetails {
  // The widest network: the /24 of IPv4, the /48 of IPv6.
  const network = clientIp === "" ? "unknown" : networksOf(clientIp)[0]!;
  return { count: "1", [`from ${network}`]: "1", ...(tally !== undefined && { [tally]: "1" }) };
}

/** The shared event of a kind and room, for all subjects without an event of their own. */
function sharedEntry(refusal: Pick<Refusal, "kind" | "room" | "clientIp">, details: CountedDetails): CountedEntry {
  const { kind, room, clientIp } = refusal;
  const about = `${room} others`;
  return { kind, about, actorId: "", subjectId: "", clientIp, details: { ...details, shared_by: SHARED_BY[room] } };
}

const SHARED_BY: Readonly<Record<RefusalRoomName, string>> = {
  known: "further subjects",
  unknown: "further addresses without an account",
  network: "further networks",
};

function keyOf({ kind, about }: CountedEntry): string {
  return `${kind} ${about}`;
}

function add(waiting: Map<string, CountedEntry>, entry: CountedEntry): void {
  const earlier = waiting.get(keyOf(entry));
  waiting.set(keyOf(entry), earlier === undefined ? entry : merged(earlier, entry));
}

/** Puts back an entry that could not be written. It counts as earlier than the entries that came since. */
function addBefore(waiting: Map<string, CountedEntry>, entry: CountedEntry): void {
  const later = waiting.get(keyOf(entry));
  waiting.set(keyOf(entry), later === undefined ? entry : merged(entry, later));
}

function merged(earlier: CountedEntry, later: CountedEntry): CountedEntry {
  return { ...later, details: added(earlier.details, later.details) };
}

/** Records that a caller presented the secret of a service credential that is revoked, expired or rotated out. */
export function noteRefusedCredential(
  recorder: Pick<RefusalRecorder, "note">,
  credentialId: string,
  reason: string,
  clientIp: string,
): void {
  const about = credentialId;
  recorder.note({ kind: "credential.refused", room: "known", about, subjectId: about, clientIp, facts: { reason } });
}
