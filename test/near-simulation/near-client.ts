import { NearCache } from "../../client/src/near/near-cache.ts";
import type { StreamAttempt } from "../../client/src/near/stream-attempt.ts";
import { verifyKeyInit } from "../../client/src/request.ts";
import {
  Verdict,
  type VerifyKeyResponse,
  type WatchRevocationsResponse,
} from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { Machine } from "../simulation/machine.ts";
import type { SeededRandom } from "../simulation/random.ts";
import type { VirtualTime } from "../simulation/virtual-time.ts";
import type { NearRequest } from "./expected-verdict.ts";
import type { NearRules } from "./near-rules.ts";
import { driftedPace, type NearService } from "./near-service.ts";
import { Network, type StreamLine } from "./network.ts";

export interface NearClientDeps {
  readonly number: number;
  readonly time: VirtualTime;
  readonly random: SeededRandom;
  /** The processes that run now. */
  readonly services: readonly NearService[];
  readonly rules: NearRules;
  readonly maxStalenessMs: number;
  /** How old a record may be that is used after a call failed; 0: never. */
  readonly staleOkMs: number;
}

/** A stream of this client. */
interface Stream {
  readonly attempt: StreamAttempt;
  line: StreamLine | undefined;
  /** `elapsedMs` at which its last part came, while the rest of that message is on its way. */
  partAtMs: number | undefined;
}

/** A call without an answer counts as failed after this time. */
const DEADLINE_MS = 1000;
/**
 * A stream whose knowledge is older than this is opened again: it is silent, or its request took seconds to arrive, by
 * which each of its messages seems older.
 */
const SILENT_MS = 2500;
const LOOK_EVERY_MS = 1000;
/** Share of near verdicts that a call follows, as where limits are counted. */
const CALL_ANYWAY = 0.15;

/** A client with the shipped near cache, its own machine and its own network. */
export class NearClient {
  readonly number: number;
  readonly machine: Machine;
  readonly cache: NearCache;
  readonly network: Network;
  readonly maxStalenessMs: number;
  readonly staleOkMs: number;
  /** Few enough for records to be evicted, or enough for all. */
  readonly maxKeys: number;
  /** True time at which the latest change of each subject was committed that this client was told of. */
  readonly toldMs = new Map<string, number>();
  /** Mean life of a stream: the next one is up before it ends. */
  /** True time at which an answer last came, by raw key. */
  readonly answeredMs = new Map<string, number>();
  /** The same for an answer INVALID. */
  readonly invalidMs = new Map<string, number>();
  readonly #streamLifeMs: number;
  readonly #deps: NearClientDeps;
  #current: Stream | undefined;
  /** The stream that is to replace the current one. */
  #next: Stream | undefined;
  #isWaiting = false;

  constructor(deps: NearClientDeps) {
    const { time, random } = deps;
    this.#deps = deps;
    this.number = deps.number;
    this.machine = new Machine(time, random, driftedPace(random));
    this.network = new Network({ time, random, machine: this.machine });
    this.maxStalenessMs = deps.maxStalenessMs;
    this.staleOkMs = deps.staleOkMs;
    this.maxKeys = random.pick([4, 100, 100]);
    this.#streamLifeMs = random.pick([4000, 20_000, 600_000]);
    this.cache = new NearCache({
      clock: this.machine.clock,
      random: () => random.next(),
      maxKeys: this.maxKeys,
      maxBytes: 1 << 20,
      maxStalenessMs: deps.maxStalenessMs,
    });
  }

  /** Watches from now on, whatever happens to its streams. */
  start(): void {
    this.machine.receive(() => this.#open());
    this.#lookForEver();
    this.#renewForEver();
  }

  /** A caller presents a key. */
  present(asked: NearRequest): void {
    this.machine.receive(() => this.#judge(asked));
  }

  /** A caller presents an access token. */
  presentToken(sessionId: string, issuedAtMs: number): void {
    this.machine.receive(() => {
      const hasEnded = this.cache.sessionEnded(sessionId, issuedAtMs);
      this.#deps.rules.sessionJudged(this, sessionId, hasEnded);
    });
  }

  /** A call for the key, whatever is kept. */
  refresh(asked: NearRequest): void {
    this.machine.receive(() => this.#call(asked));
  }

  /** The next stream starts without a cursor, as after the service refused one. */
  forgetCursor(): void {
    this.machine.receive(() => this.#open(""));
  }

  #judge(asked: NearRequest): void {
    const { rules, random } = this.#deps;
    const judged = this.cache.judge(asked.request);
    if (judged !== undefined) rules.judged(this, asked, judged, this.maxStalenessMs);
    if (judged === undefined || judged.isRecheckDue || random.chance(CALL_ANYWAY)) this.#call(asked);
  }

  #call(asked: NearRequest): void {
    const { random, services, rules } = this.#deps;
    const exchange = this.cache.begin();
    let hasEnded = false;
    const onFailure = () => {
      if (hasEnded) return;
      hasEnded = true;
      if (this.staleOkMs === 0) return;
      const judged = this.cache.judgeStale(asked.request, this.staleOkMs);
      if (judged !== undefined) rules.judged(this, asked, judged, Math.max(this.staleOkMs, this.maxStalenessMs));
    };
    // An answer after the deadline is kept all the same: a caller may have a longer deadline than others.
    const onAnswer = (response: VerifyKeyResponse) => {
      hasEnded = true;
      this.answeredMs.set(asked.request.apiKey, this.#deps.time.nowMs);
      if (response.verdict === Verdict.INVALID) this.invalidMs.set(asked.request.apiKey, this.#deps.time.nowMs);
      this.cache.keep(exchange, asked.request, response);
    };
    this.machine.timers.after(DEADLINE_MS, onFailure);
    this.network.call(random.pick(services), verifyKeyInit(asked.request), { onAnswer, onFailure });
  }

  /** Opens a stream, which replaces the present one with its first whole message. */
  #open(cursor = this.cache.cursor): void {
    const { random, services } = this.#deps;
    if (this.#next !== undefined) this.#close(this.#next);
    const stream: Stream = { attempt: this.cache.openStream(cursor), line: undefined, partAtMs: undefined };
    this.#next = stream;
    stream.line = this.network.watch(random.pick(services), cursor, {
      onMessage: (message) => this.#take(stream, message),
      onEnd: () => this.#ended(stream),
    });
  }

  #take(stream: Stream, message: WatchRevocationsResponse): void {
    const applied = this.cache.apply(stream.attempt, message);
    // Positions of another history do not compare with what was told before.
    if (applied.resync) this.toldMs.clear();
    this.#deps.rules.told(this, message);
    stream.partAtMs = applied.isWhole ? undefined : this.machine.clock.elapsedMs();
    if (stream !== this.#next || !applied.isWhole) return;
    if (this.#current !== undefined) this.#close(this.#current);
    this.#current = stream;
    this.#next = undefined;
  }

  #close(stream: Stream): void {
    stream.line!.close();
    this.cache.streamEnded(stream.attempt);
  }

  #ended(stream: Stream): void {
    this.cache.streamEnded(stream.attempt);
    if (stream === this.#current) this.#current = undefined;
    if (stream === this.#next) this.#next = undefined;
    if (this.#current === undefined && this.#next === undefined) this.#openLater();
  }

  #openLater(): void {
    if (this.#isWaiting) return;
    this.#isWaiting = true;
    this.machine.timers.after(this.#deps.random.between(100, 1500), () => {
      this.#isWaiting = false;
      if (this.#next === undefined) this.#open();
    });
  }

  /** Opens another stream for one that can't prove anything, as keepalive and the cache tell. */
  #lookForEver(): void {
    this.machine.timers.after(LOOK_EVERY_MS, () => {
      const stream = this.#next ?? this.#current;
      if (stream !== undefined && (this.#isSilent(stream) || this.cache.mustReopen(stream.attempt))) this.#open();
      this.#lookForEver();
    });
  }

  /** A long message may come in parts for a while: that is no silence. */
  #isSilent({ attempt, partAtMs }: Stream): boolean {
    const nowMs = this.machine.clock.elapsedMs();
    const isYoung = nowMs - Math.max(attempt.openedAtMs, partAtMs ?? 0) < SILENT_MS;
    return !isYoung && this.cache.streamAgeMs > SILENT_MS;
  }

  #renewForEver(): void {
    this.machine.timers.after(this.#deps.random.between(0.8, 1.2) * this.#streamLifeMs, () => {
      this.#open();
      this.#renewForEver();
    });
  }
}
