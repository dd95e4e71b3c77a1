import type { NearJudgement } from "../../client/src/near/near-judgement.ts";
import type { WatchRevocationsResponse } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { MAX_UNNOTICED_MS } from "../../src/lib/clock.ts";
import type { Cluster } from "../simulation/cluster.ts";
import { nameOf } from "../simulation/sample-keys.ts";
import type { Row } from "../simulation/truth.ts";
import type { VirtualTime } from "../simulation/virtual-time.ts";
import { endsOf, expectedFigures, expectedVerdict, type Moment, type NearRequest } from "./expected-verdict.ts";
import type { Fleet } from "./fleet.ts";
import type { NearClient } from "./near-client.ts";

export interface NearRulesDeps {
  readonly time: VirtualTime;
  readonly cluster: Cluster;
  readonly fleet: Fleet;
  /** The greatest staleness of the service while its database is unreachable, beyond its usual bound. */
  readonly staleOkMs: number;
  readonly onFault: (fault: string) => void;
}

/** The service's own bound while its database answers. */
const FRESH_MS = 5000;
/** Clocks that differ by 200 ppm, over the greatest age that the simulation allows; and times in whole milliseconds. */
const DRIFT = 2e-4;
const ROUNDING_MS = 2;

/** Judges what the near caches say, by the whole truth. All times are true. */
export class NearRules {
  readonly #deps: NearRulesDeps;

  constructor(deps: NearRulesDeps) {
    this.#deps = deps;
  }

  /**
   * A verdict must be the one of some moment since the record was true, as the judgement itself tells, and within the
   * bound.
   *
   * @param mostAgeMs the greatest age that the client allowed
   */
  judged(client: NearClient, asked: NearRequest, judged: NearJudgement, mostAgeMs: number): void {
    const { nowMs } = this.#deps.time;
    const boundMs = Math.min(mostAgeMs, client.staleOkMs > 0 ? mostAgeMs : FRESH_MS + this.#deps.staleOkMs);
    if (!(judged.ageMs >= 0 && judged.ageMs < boundMs)) {
      this.#fault(
        client,
        asked,
        `${judged.verdict} by a record of ${judged.ageMs} ms, above the bound of ${boundMs} ms`,
      );
    }
    const ageMs = judged.ageMs * (1 + DRIFT) + ROUNDING_MS + this.#unnoticedMs(client);
    const moments = this.#momentsSince(client, asked, judged.verdict, nowMs - ageMs);
    const fitting = moments.filter((moment) => this.#expected(client, moment, asked).includes(judged.verdict));
    if (fitting.length === 0) {
      const wanted = [...new Set(moments.flatMap((moment) => this.#expected(client, moment, asked)))].join(", ");
      this.#fault(client, asked, `${judged.verdict} at an age of ${judged.ageMs.toFixed(1)} ms, instead of ${wanted}`);
    }
    if (judged.verdict === "INVALID") this.#checkAbsence(client, asked);
    if (fitting.length === 0 || judged.verdict === "INVALID") return;
    if (judged.key?.id !== asked.sample.keyId) this.#fault(client, asked, `the key ${judged.key?.id}`);
    const { perMinute, perDay } = judged.ownLimits[0] ?? {};
    const isOwn = (moment: Moment) => {
      const figures = expectedFigures(moment);
      return figures.perMinute === perMinute && figures.perDay === perDay;
    };
    if (!fitting.some(isOwn)) this.#fault(client, asked, `limits of ${perMinute} and ${perDay}, which it never had`);
  }

  /** The stream makes no absence younger: after its time, the service is asked again. */
  #checkAbsence(client: NearClient, asked: NearRequest): void {
    const { apiKey, environment = "" } = asked.request;
    // The environment alone decided.
    if (environment === "test") return;
    const answeredMs = client.invalidMs.get(apiKey) ?? Number.NEGATIVE_INFINITY;
    const ageMs = this.#deps.time.nowMs - answeredMs - this.#unnoticedMs(client);
    if (ageMs > FRESH_MS * (1 + DRIFT) + ROUNDING_MS)
      this.#fault(client, asked, `INVALID ${ageMs} ms after such an answer`);
  }

  /** A token is accepted if its session did not end, as far as young knowledge tells. */
  sessionJudged(client: NearClient, sessionId: string, hasEnded: boolean | undefined): void {
    const { cluster, time } = this.#deps;
    const mostMs = FRESH_MS * (1 + DRIFT) + ROUNDING_MS + this.#unnoticedMs(client);
    const eras = cluster.truth.erasSince(sessionId, time.nowMs - mostMs);
    const isAccepted = hasEnded === false && client.cache.streamAgeMs < FRESH_MS;
    if (isAccepted && eras.every(({ row }) => row !== undefined)) {
      const lateMs = time.nowMs - eras.at(-1)!.fromMs;
      this.#deps.onFault(`a token is accepted ${lateMs.toFixed(1)} ms after the end of ${sessionId}`);
    }
    const everEnded = cluster.truth.hasChanged(sessionId);
    if (hasEnded === true && !everEnded) this.#deps.onFault(`${sessionId} counts as ended, and never was`);
  }

  /** Notes the changes that a client was told of: it never again tells of a time before them. */
  told(client: NearClient, { changes }: WatchRevocationsResponse): void {
    for (const { subjectId, changeTime } of changes) {
      const changedAtMs = Number(changeTime!.seconds) * 1000 + changeTime!.nanos / 1e6;
      const committed = this.#deps.cluster.committed.findLast(
        (one) => one.subjectId === subjectId && Math.floor(one.changedAtMs) === Math.round(changedAtMs),
      );
      if (committed === undefined) continue;
      client.toldMs.set(subjectId, Math.max(committed.atMs, client.toldMs.get(subjectId) ?? Number.NEGATIVE_INFINITY));
    }
  }

  /** How much a suspension may hide: of the client, and of some process of the service. */
  #unnoticedMs({ machine }: NearClient): number {
    return (machine.wasSuspended ? MAX_UNNOTICED_MS : 0) + (this.#deps.fleet.wasSuspended ? MAX_UNNOTICED_MS : 0);
  }

  #momentsSince(client: NearClient, { sample }: NearRequest, verdict: string, fromMs: number): readonly Moment[] {
    const { cluster, time, fleet } = this.#deps;
    const { truth } = cluster;
    const databaseMs = cluster.clockAt(time.nowMs);
    // An absence is known for its 5 s, whatever is told.
    const toldMs = (id: string) =>
      (verdict === "INVALID" ? undefined : client.toldMs.get(id)) ?? Number.NEGATIVE_INFINITY;
    const erasOf = (id: string) => truth.erasSince(id, fromMs).filter(({ untilMs }) => untilMs > toldMs(id));
    const moments: Moment[] = [];
    for (const key of erasOf(sample.keyId)) {
      for (const owner of erasOf(sample.ownerId)) {
        if (key.fromMs >= owner.untilMs || owner.fromMs >= key.untilMs) continue;
        for (const settings of fleet.settingsSince(fromMs)) {
          moments.push({ key: key.row, owner: owner.row, settings, databaseMs });
        }
      }
    }
    return moments;
  }

  /** The verdicts that are right at a moment: two, while the database's time is within the clocks' error of an end. */
  #expected(client: NearClient, moment: Moment, asked: NearRequest): readonly string[] {
    const { databaseMs } = moment;
    const [lowMs, highMs] = this.#deps.fleet.clockErrors();
    const hiddenMs = this.#unnoticedMs(client) + ROUNDING_MS;
    const times = [databaseMs + lowMs - hiddenMs, databaseMs, databaseMs + highMs + hiddenMs];
    if (!hasEndBetween(moment.key, times[0]!, times[2]!)) return [expectedVerdict(moment, asked)];
    return times.map((at) => expectedVerdict({ ...moment, databaseMs: at }, asked));
  }

  #fault(client: NearClient, { sample, secret }: NearRequest, what: string): void {
    const late = [sample.keyId, sample.ownerId].map(
      (id) =>
        `${nameOf(id)} changed ${(this.#deps.time.nowMs - this.#deps.cluster.truth.changedAtMs(id)).toFixed(1)} ms ago`,
    );
    this.#deps.onFault(
      `client ${client.number}, ${nameOf(sample.keyId)}, secret ${secret}: ${what}; ${late.join(", ")}`,
    );
  }
}

function hasEndBetween(key: Row | undefined, lowMs: number, highMs: number): boolean {
  return endsOf(key).some((end) => end >= lowMs && end <= highMs);
}
