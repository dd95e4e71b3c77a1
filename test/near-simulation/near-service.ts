import { create, fromBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { parseCursor } from "../../src/changes/cursor-text.ts";
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
const ts = (ms: number) => timestampFromMs(Math.floor(ms)) as any;
export class NearService {
  last = 0n;
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
    const { tiers } = settings;
    const onError = () => {};
    this.inner = new SimulatedService({ time, cluster, machine, link, tiers, staleOkMs, onAnswer: () => {}, onError });
    this.#handlers = {
      ...verifyHandlers({ ...this.inner.verifyDeps, tiers }),
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
    const r: any = fromBinary(VerifyKeyResponseSchema, (answer as EncodedMessage).bytes);
    if (r.freshness) {
      const now = this.inner.databaseClock.nowMs(),
        f = r.freshness;
      f.serveTime = ts(now);
      f.age = ts(Math.ceil(now - (Number(f.asOfTime.seconds) * 1000 + f.asOfTime.nanos / 1e6)));
      f.epoch = this.epochOf(this.inner.feed.cursor?.epoch);
      r.nearRules = f.epoch === 0n ? 0 : 1;
    }
    if (r.key) {
      const row: any = this.#cluster;
      void row;
      const rec: any = this.inner.verifyDeps.records.fresh(init.apiKey!)?.record;
      if (rec) {
        r.key.effectiveTier = rec.tier;
        r.key.effectiveScopes = rec.key.scopes.filter(
          (s: string) => rec.owner.scopes.includes("*") || rec.owner.scopes.includes(s),
        );
      } else r.nearRules = 0;
    }
    return r;
  }

  epochOf(e: any): bigint {
    if (!e) return 0n;
    return (
      BigInt(e.timeline) * 1000000n +
      BigInt(Number(e.incarnation.slice(-12))) * 10n +
      (this.settings.order[0]!.name === "basic" ? 1n : 2n)
    );
  }

  async *watch(cursor: string, signal: AbortSignal): AsyncGenerator<WatchRevocationsResponse> {
    const call = { ...CALL, signal };
    const opened = this.inner.machine.clock.monotonicMs();
    const request = create(WatchRevocationsRequestSchema, { cursor });
    for await (const message of this.#handlers.watchRevocations!(request, call)) {
      this.#onServe();
      const m: any = create(WatchRevocationsResponseSchema, message);
      const now = this.inner.databaseClock.nowMs();
      m.serveTime = ts(now);
      if (m.cursor !== "") {
        m.asOfElapsed = ts(
          Math.floor(
            Number(m.asOfTime.seconds) * 1000 +
              m.asOfTime.nanos / 1e6 -
              now +
              this.inner.machine.clock.monotonicMs() -
              opened,
          ),
        );
        this.last = this.epochOf((parseCursor(m.cursor) as any).epoch);
      }
      m.epoch = this.last;
      yield m;
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
