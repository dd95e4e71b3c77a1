import { create, fromBinary, type MessageInitShape } from "@bufbuild/protobuf";
import {
  VerifyKeyRequestSchema,
  type VerifyKeyResponse,
  VerifyKeyResponseSchema,
  WatchRevocationsRequestSchema,
  type WatchRevocationsResponse,
  WatchRevocationsResponseSchema,
} from "../../src/gen/latchkey/v1/key_service_pb.ts";
import type { Call, EncodedMessage } from "../../src/rpc/call.ts";
import { verifyHandlers } from "../../src/rpc/handlers/verify-handlers.ts";
import { watchHandlers } from "../../src/rpc/handlers/watch-handlers.ts";
import type { Cluster } from "../simulation/cluster.ts";
import { DatabaseLink } from "../simulation/database-link.ts";
import { Machine } from "../simulation/machine.ts";
import type { SeededRandom } from "../simulation/random.ts";
import { SimulatedService } from "../simulation/simulated-service.ts";
import type { VirtualTime } from "../simulation/virtual-time.ts";
import type { Settings } from "./near-keys.ts";

export interface NearServiceDeps {
  readonly time: VirtualTime;
  readonly random: SeededRandom;
  readonly cluster: Cluster;
  readonly settings: Settings;
  readonly staleOkMs: number;
  /** Called whenever the process tells its idea of the database's time. */
  readonly onServe: (service: NearService) => void;
}

/** Relative speed of two machines' clocks is at most twice this: 200 ppm. */
const MOST_DRIFT = 1e-4;
const CALL = { addHeader: () => {} } as unknown as Call;

/** One process of the service, from the wire to the database: the shipped handlers above a simulated service. */
export class NearService {
  readonly inner: SimulatedService;
  readonly settings: Settings;
  isStopped = false;
  readonly #time: VirtualTime;
  readonly #cluster: Cluster;
  readonly #onServe: () => void;
  readonly #handlers: ReturnType<typeof verifyHandlers> & ReturnType<typeof watchHandlers>;
  readonly #onStop: (() => void)[] = [];

  constructor({ time, random, cluster, settings, staleOkMs, onServe }: NearServiceDeps) {
    this.#time = time;
    this.#cluster = cluster;
    this.#onServe = () => onServe(this);
    this.settings = settings;
    const machine = new Machine(time, random, driftedPace(random));
    const link = new DatabaseLink({ time, random, cluster, machine });
    const nothing = () => {};
    const base = { time, cluster, machine, link, settings, staleOkMs };
    this.inner = new SimulatedService({ ...base, onAnswer: nothing, onError: nothing });
    const { tiers } = settings;
    const { clock } = machine;
    this.#handlers = {
      ...verifyHandlers({ ...this.inner.verifyDeps, tiers, clock }),
      ...watchHandlers(this.inner.watchDeps),
    };
    void this.inner.feed.start();
  }

  /** Runs what arrives from the network, once this machine runs. */
  receive(run: () => void): void {
    this.inner.machine.receive(() => this.isStopped || run());
  }

  /** How far this process's idea of the database's time is ahead of the truth now. */
  get clockErrorMs(): number {
    return this.inner.databaseClock.nowMs() - this.#cluster.clockAt(this.#time.nowMs);
  }

  async verify(init: MessageInitShape<typeof VerifyKeyRequestSchema>): Promise<VerifyKeyResponse> {
    const answer = await this.#handlers.verifyKey!(create(VerifyKeyRequestSchema, init), CALL);
    this.#onServe();
    return fromBinary(VerifyKeyResponseSchema, (answer as EncodedMessage).bytes);
  }

  async *watch(cursor: string, signal: AbortSignal): AsyncGenerator<WatchRevocationsResponse> {
    const call = { ...CALL, signal };
    const request = create(WatchRevocationsRequestSchema, { cursor });
    for await (const message of this.#handlers.watchRevocations!(request, call)) {
      this.#onServe();
      yield create(WatchRevocationsResponseSchema, message);
    }
  }

  /** Ends the process: its connections close, and calls under way are lost. */
  stop(): void {
    this.isStopped = true;
    void this.inner.feed.stop();
    for (const tell of this.#onStop) tell();
  }

  onStop(tell: () => void): void {
    this.#onStop.push(tell);
  }
}

export function driftedPace(random: SeededRandom): number {
  return random.between(1 - MOST_DRIFT, 1 + MOST_DRIFT);
}
