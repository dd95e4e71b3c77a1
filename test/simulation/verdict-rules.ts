import type { KeyRecord } from "../../src/keys/key-records.ts";
import { MAX_UNNOTICED_MS } from "../../src/lib/clock.ts";
import type { Cluster } from "./cluster.ts";
import { nameOf, ownerVersion, type SampleKey } from "./sample-keys.ts";
import type { Answer, SimulatedService } from "./simulated-service.ts";
import type { Era } from "./truth.ts";

/** Maximum age of a copy that may be used while the database answers. */
const FRESH_MS = 5000;
/** How long a breaker may stay open after an outage: until the next poll or probe, and its timeout. */
const RECOVERY_MS = 2500;
/** How long answers stay available once the database is unreachable. */
const SURVIVES_MS = 60_000;
/** Maximum delay of the news of a change while polls are answered. */
const NEWS_MS = 2500;
/** Maximum time of a call while the database is unreachable. */
const CALL_MS = 300;
/** Tolerance for the rounding of sums of fractions of milliseconds. */
const ROUNDING_MS = 0.001;

/** A copy in a process, as its answers show it. Times are true. */
interface Kept {
  readonly asOfMs: number;
  /** Earlier than the answer if other keys of a batch were waited for. */
  readonly servedAtMs: number;
  readonly polledAtMs: number;
}

/** The basis of a verdict: a period in which a version in its record was true. */
interface Basis {
  readonly subjectId: string;
  readonly era: Era;
}

/** Judges every answer of every process by the whole truth. */
export class VerdictRules {
  readonly #cluster: Cluster;
  /** The copies, by process and key. */
  readonly #kept = new Map<SimulatedService, Map<string, Kept>>();

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  /** The fault of an answer; undefined if there is none. */
  faultOf(process: SimulatedService, answer: Answer): string | undefined {
    const { verdict, loaded } = answer;
    if (verdict === undefined) return this.#unavailableFault(process, answer);
    if (loaded === undefined || verdict.freshness === undefined) return "a verdict without a record";
    const basis = this.#basisOf(answer, loaded.record);
    if (basis === undefined) return "a record that never was";
    const fault =
      this.#ageFault(process, answer, basis) ??
      this.#asOfFault(process, answer, basis) ??
      this.#positionFault(process, answer, basis) ??
      this.#acknowledgedFault(answer, basis) ??
      verdictFault(answer);
    if (verdict.verdict === "valid") this.#noteKept(process, answer);
    return fault;
  }

  #basisOf({ sample }: Answer, record: KeyRecord | undefined): Basis[] | undefined {
    const { truth } = this.#cluster;
    const versions: [string, number | undefined][] =
      record === undefined
        ? [[sample.keyId, undefined]]
        : [
            [sample.keyId, record.key.version],
            [sample.ownerId, ownerVersion(record.owner!)],
          ];
    const basis = versions.map(([subjectId, version]) => ({ subjectId, era: truth.lastEraOf(subjectId, version) }));
    return basis.every((one): one is Basis => one.era !== undefined) ? basis : undefined;
  }

  /** An answer is at most 5 s late while the database answers, and otherwise at most 5 s and the stale bound. */
  #ageFault(process: SimulatedService, answer: Answer, basis: readonly Basis[]): string | undefined {
    const { answeredAtMs, verdict } = answer;
    const isAway = process.link.readableForMs() < RECOVERY_MS;
    const boundMs = FRESH_MS + (isAway ? process.staleOkMs : 0) + answer.stoodStillMs + unnoticedMs(process);
    const { subjectId, era } = basis.reduce((a, b) => (a.era.untilMs < b.era.untilMs ? a : b));
    const lateMs = answeredAtMs - era.untilMs;
    if (lateMs <= boundMs) return undefined;
    return `answers ${verdict!.verdict} ${lateMs.toFixed(1)} ms after ${nameOf(subjectId)} changed (bound ${boundMs} ms)`;
  }

  /** `as_of` is never later than the record was true, by any clock, and never older than `max_staleness` allows. */
  #asOfFault(process: SimulatedService, answer: Answer, basis: readonly Basis[]): string | undefined {
    const freshness = answer.verdict!.freshness!;
    const asOfMs = process.machine.trueMs(answer.loaded!.asOfMs);
    // The start of the call counts, because a batch answers only with its last key.
    const overdueMs = answer.startedAtMs - asOfMs - freshness.maxStalenessMs - unnoticedMs(process);
    if (overdueMs > ROUNDING_MS) return `as of ${overdueMs.toFixed(1)} ms before what max_staleness allows`;
    for (const { subjectId, era } of basis) {
      const newerMs = asOfMs - era.untilMs;
      if (newerMs > ROUNDING_MS)
        return `as of ${newerMs.toFixed(1)} ms after ${nameOf(subjectId)} became something else`;
      // Times from before the clock was set are not comparable.
      if (this.#cluster.clockSetAtMs > Number.NEGATIVE_INFINITY) continue;
      const claimedMs = freshness.asOfMs - this.#cluster.clockAt(era.untilMs);
      if (claimedMs > ROUNDING_MS) return `as_of_time ${claimedMs.toFixed(1)} ms after ${nameOf(subjectId)} changed`;
    }
    return undefined;
  }

  /** The record contains every change that a snapshot of its position, or a lower one, sees. */
  #positionFault(process: SimulatedService, answer: Answer, basis: readonly Basis[]): string | undefined {
    const { position } = answer.verdict!.freshness!;
    // The history changed while the batch waited for its other keys.
    const isEarlier = answer.isOfBatch || answer.loaded!.source === "cache";
    if (process.link.resyncedAtMs >= answer.startedAtMs && isEarlier) return undefined;
    for (const { subjectId, era } of basis) {
      if (era.endedBy === undefined || era.endedBy.life !== process.link.polledLife) continue;
      const saw = this.#cluster.positions.seenBy(era.endedBy, position);
      if (saw !== undefined) {
        return `position ${position}, though a snapshot of ${saw} saw that ${nameOf(subjectId)} became something else`;
      }
    }
    return undefined;
  }

  /**
   * Every key that was verified in the last minute still verifies, and none is unavailable while the database answers.
   */
  #unavailableFault(process: SimulatedService, answer: Answer): string | undefined {
    const { sample, answeredAtMs } = answer;
    // Timeouts may have fired while it stood still.
    if (answeredAtMs - process.machine.resumedAtMs < CALL_MS) return undefined;
    const isReadable = process.link.isKnownReadable && process.link.readableForMs() >= RECOVERY_MS;
    if (isReadable) return "unavailable, though the database answers";
    const kept = this.#kept.get(process)?.get(sample.keyId);
    if (kept === undefined || !this.#isStillKept(process, sample, kept)) return undefined;
    // The machine can't tell a clock that was set forward from a suspension of that length.
    if (process.machine.noticedAtMs >= kept.servedAtMs) return undefined;
    const ageMs = answeredAtMs - kept.asOfMs;
    const isYoung = ageMs < Math.min(SURVIVES_MS, process.staleOkMs);
    return isYoung ? `unavailable ${ageMs.toFixed(1)} ms after it verified` : undefined;
  }

  #noteKept(process: SimulatedService, { sample, startedAtMs, loaded }: Answer): void {
    const kept = this.#kept.get(process) ?? new Map<string, Kept>();
    this.#kept.set(process, kept);
    const asOfMs = process.machine.trueMs(loaded!.asOfMs);
    // A record that a change overtook is served but not kept.
    if (loaded!.source === "database") kept.delete(sample.keyId);
    else kept.set(sample.keyId, { asOfMs, servedAtMs: startedAtMs, polledAtMs: process.link.polledAtMs });
  }

  /** Whether no news came since then, not even of a change that the record already includes. */
  #isStillKept({ link, acknowledgedAtMs }: SimulatedService, { keyId, ownerId }: SampleKey, kept: Kept): boolean {
    const { truth, model } = this.#cluster;
    if (link.polledLife !== model.lives || link.resyncedAtMs >= kept.servedAtMs) return false;
    if (acknowledgedAtMs >= kept.servedAtMs) return false;
    const changedAtMs = Math.max(truth.changedAtMs(keyId), truth.changedAtMs(ownerId));
    return changedAtMs < Math.min(kept.asOfMs, kept.polledAtMs - NEWS_MS);
  }

  /** A process shows its own change in every call that begins after it acknowledged the change. */
  #acknowledgedFault({ acknowledged, startedAtMs }: Answer, basis: readonly Basis[]): string | undefined {
    if (this.#cluster.tookOverAtMs >= startedAtMs) return undefined;
    const isOlder = ({ subjectId, era }: Basis) => {
      const atMs = acknowledged.get(subjectId) ?? Number.NEGATIVE_INFINITY;
      return atMs > this.#cluster.tookOverAtMs && era.untilMs <= atMs;
    };
    const older = basis.find(isOlder);
    return older && `${nameOf(older.subjectId)} is older than what this process had acknowledged`;
  }
}

/** A suspension of up to a second does not show in any clock of the machine. */
function unnoticedMs({ machine }: SimulatedService): number {
  return machine.wasSuspended ? MAX_UNNOTICED_MS : 0;
}

/** The verdict matches the record: a good key is never refused, and a bad key is never accepted. */
function verdictFault({ verdict, loaded }: Answer): string | undefined {
  const record = loaded!.record;
  const isGood = record?.key.state === "active" && record.owner?.state === "active";
  return (verdict!.verdict === "valid") === isGood ? undefined : `${verdict!.verdict} for another record`;
}
