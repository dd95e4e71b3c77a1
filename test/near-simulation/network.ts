import type { MessageInitShape } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import type { VerifyKeyRequestSchema, VerifyKeyResponse } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import {
  type WatchRevocationsResponse,
  WatchRevocationsResponseSchema,
} from "../../src/gen/latchkey/v1/key_service_pb.ts";
import type { Machine } from "../simulation/machine.ts";
import type { SeededRandom } from "../simulation/random.ts";
import type { VirtualTime } from "../simulation/virtual-time.ts";
import type { NearService } from "./near-service.ts";

export interface NetworkDeps {
  readonly time: VirtualTime;
  readonly random: SeededRandom;
  /** The client's machine. */
  readonly machine: Machine;
}

/** A call, as its client sees it. At most one of the two runs; a lost call ends with neither. */
export interface CallEnd {
  readonly onAnswer: (response: VerifyKeyResponse) => void;
  readonly onFailure: () => void;
}

/**
 * The network between one client and all processes, with a proxy that may hold everything back. Calls overtake each
 * other and the streams. The messages of one stream keep their order.
 */
export class Network {
  /** Mean time of one direction. */
  paceMs = 1;
  /** While true, everything is lost, and neither side notices. */
  isCut = false;
  /** True time until which the proxy holds back what comes to the client. */
  heldUntilMs = Number.NEGATIVE_INFINITY;
  /** Whether each change of a message comes in a part of its own, as those of a large message do. */
  readonly sendsParts: boolean;
  /** Whether nothing is late, except what is in 2 % of cases. */
  isCalm = false;
  readonly #deps: NetworkDeps;
  readonly #streams = new Set<StreamLine>();

  constructor(deps: NetworkDeps) {
    this.#deps = deps;
    this.sendsParts = deps.random.chance(0.5);
  }

  /** Sends one call. Its answer comes whenever it comes. */
  call(service: NearService, init: MessageInitShape<typeof VerifyKeyRequestSchema>, end: CallEnd): void {
    const { machine, time } = this.#deps;
    const arrive = (run: () => void) => this.#toClient(() => machine.receive(run));
    time.after(this.way(), () => {
      if (this.isCut) return;
      if (service.isStopped) return arrive(end.onFailure);
      service.receive(() => {
        service.verify(init).then(
          (response) => arrive(() => end.onAnswer(response)),
          () => arrive(end.onFailure),
        );
      });
    });
  }

  /** Opens a stream, from a cursor or "" for none. */
  watch(service: NearService, cursor: string, ends: StreamEnds): StreamLine {
    const line = new StreamLine(this, this.#deps, service, ends);
    this.#streams.add(line);
    line.open(cursor, () => this.#streams.delete(line));
    return line;
  }

  /** Cuts each stream that is open now. @param noticedAfterMs when the client notices it */
  cutStreams(noticedAfterMs: number): void {
    for (const line of this.#streams) line.cut(noticedAfterMs);
  }

  /** The time of one direction. In 2 % of cases something is sent again, or waits in a queue. */
  way(): number {
    const { random } = this.#deps;
    return random.chance(0.02) ? random.between(10, 1500) : random.pause(this.paceMs);
  }

  /** True time at which something arrives that is sent to the client now. */
  arrivalMs(): number {
    return Math.max(this.#deps.time.nowMs + this.way(), this.heldUntilMs);
  }

  #toClient(arrive: () => void): void {
    const { time } = this.#deps;
    time.after(this.arrivalMs() - time.nowMs, () => this.isCut || arrive());
  }
}

/** The client's listeners of one stream. */
export interface StreamEnds {
  readonly onMessage: (message: WatchRevocationsResponse) => void;
  /** Runs once, at most. */
  readonly onEnd: () => void;
}

/** One stream from a process to a client. */
export class StreamLine {
  readonly #network: Network;
  readonly #deps: NetworkDeps;
  readonly #service: NearService;
  readonly #ends: StreamEnds;
  readonly #abort = new AbortController();
  #lastArrivalMs = Number.NEGATIVE_INFINITY;
  readonly #onTheirWay: (() => void)[] = [];
  #isCut = false;
  /** Whether its first message has not come yet. That one may be a list of thousands of sessions. */
  #isFirst = true;
  #hasEnded = false;
  #onOver: () => void = () => {};

  constructor(network: Network, deps: NetworkDeps, service: NearService, ends: StreamEnds) {
    this.#network = network;
    this.#deps = deps;
    this.#service = service;
    this.#ends = ends;
  }

  open(cursor: string, onOver: () => void): void {
    this.#onOver = onOver;
    this.#deps.time.after(this.#network.way(), () => {
      if (this.#network.isCut) return this.cut(this.#deps.random.between(0, 6000));
      if (this.#service.isStopped) return this.#arrive(() => this.#end());
      this.#service.onStop(() => this.#arrive(() => this.#end()));
      this.#service.receive(() => this.#pull(this.#service.watch(cursor, this.#abort.signal)));
    });
  }

  /** Loses everything that is on its way, and all that follows. */
  cut(noticedAfterMs: number): void {
    this.#isCut = true;
    this.#deps.time.after(noticedAfterMs, () => this.#deps.machine.receive(() => this.#end()));
  }

  /** The client ends the stream. It is told nothing more. */
  close(): void {
    this.#hasEnded = true;
    this.#onOver();
    this.#deps.time.after(this.#network.way(), () => this.#abort.abort());
  }

  #pull(messages: AsyncIterator<WatchRevocationsResponse>): void {
    messages.next().then(
      ({ value, done }) => {
        if (done === true) return this.#arrive(() => this.#end());
        for (const part of this.#partsOf(value)) {
          this.#arrive(() => this.#ends.onMessage(part));
          if (this.#isFirst && part.cursor === "") this.#pauseBetweenParts();
        }
        this.#isFirst = false;
        this.#pull(messages);
      },
      () => this.#arrive(() => this.#end()),
    );
  }

  /** As the service sends a large message: only the last part has what says that all was told. */
  #partsOf(message: WatchRevocationsResponse): readonly WatchRevocationsResponse[] {
    const { changes, resync, position, epoch, serveTime } = message;
    if (!this.#network.sendsParts || changes.length === 0 || message.cursor === "") return [message];
    const parts = changes.map((change, at) =>
      create(WatchRevocationsResponseSchema, {
        changes: [change],
        resync: resync && at === 0,
        position,
        epoch,
        ...(serveTime !== undefined && { serveTime }),
      }),
    );
    return [...parts, create(WatchRevocationsResponseSchema, { ...message, resync: false, changes: [] })];
  }

  /** The service reads each page of a long list when the client has taken the one before. */
  #pauseBetweenParts(): void {
    const { random } = this.#deps;
    if (this.#network.isCalm || !random.chance(0.5)) return;
    this.#lastArrivalMs += random.between(0, 2400);
    this.#isFirst = false;
  }

  #arrive(run: () => void): void {
    const { time, machine } = this.#deps;
    if (this.#isCut) return;
    this.#lastArrivalMs = Math.max(this.#lastArrivalMs, this.#network.arrivalMs());
    this.#onTheirWay.push(run);
    time.after(this.#lastArrivalMs - time.nowMs, () => {
      // Sums of fractions of milliseconds may differ in their last bit, which must not change the order.
      const next = this.#onTheirWay.shift()!;
      if (this.#network.isCut) return this.#isCut || this.cut(this.#deps.random.between(0, 6000));
      if (!this.#isCut) machine.receive(() => this.#hasEnded || next());
    });
  }

  #end(): void {
    if (this.#hasEnded) return;
    this.close();
    this.#ends.onEnd();
  }
}
