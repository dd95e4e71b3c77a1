import { ChangeBus } from "../../src/changes/change.ts";
import { ChangeFeed } from "../../src/changes/change-feed.ts";
import { DatabaseBreaker } from "../../src/changes/database-breaker.ts";
import { DatabaseClock } from "../../src/changes/database-clock.ts";
import type { Loaded } from "../../src/changes/record-cache.ts";
import { Watches, type WatchInput, type WatchMessage, watchChanges } from "../../src/changes/watch-changes.ts";
import { type BatchOutcome, type BatchVerifyKeysDeps, batchVerifyKeys } from "../../src/keys/batch-verify-keys.ts";
import { type KeyRecord, KeyRecords } from "../../src/keys/key-records.ts";
import type { KeyRead } from "../../src/keys/key-store.ts";
import type { KeyVerdict } from "../../src/keys/verdict.ts";
import { type VerifyKeyDeps, verifyKey } from "../../src/keys/verify-key.ts";
import { DomainError } from "../../src/lib/errors.ts";
import type { Log } from "../../src/lib/log.ts";
import { NOT_LIMITED } from "../../src/limits/limit.ts";
import type { Cluster, Committed } from "./cluster.ts";
import type { DatabaseLink } from "./database-link.ts";
import type { Machine } from "./machine.ts";
import { format, keyWithSecrets, ring, SAMPLE_KEYS, type SampleKey, tiers } from "./sample-keys.ts";
import type { VirtualTime } from "./virtual-time.ts";

export interface SimulatedServiceDeps {
  readonly time: VirtualTime;
  readonly cluster: Cluster;
  readonly machine: Machine;
  readonly link: DatabaseLink;
  readonly staleOkMs: number;
  /** Called for each answer. */
  readonly onAnswer: (process: SimulatedService, answer: Answer) => void;
  /** Called for an error with which no call may end. */
  readonly onError: (error: unknown) => void;
}

/** One key of one call, as the caller sees it. Times are true. */
export interface Answer {
  readonly sample: SampleKey;
  /** True if all keys of its call were answered together. */
  readonly isOfBatch: boolean;
  readonly startedAtMs: number;
  readonly answeredAtMs: number;
  /** The time for which the process did not run while the batch waited for its other keys. */
  readonly stoodStillMs: number;
  /** The verdict; undefined if the key is unavailable. */
  readonly verdict: KeyVerdict | undefined;
  readonly loaded: Loaded<KeyRecord> | undefined;
  /** The changes that this process had acknowledged before the call began, with the true times of their commits. */
  readonly acknowledged: ReadonlyMap<string, number>;
}

const LIMITER = {
  decide: async () => NOT_LIMITED,
  decideAll: async (requests: readonly unknown[]) => requests.map(() => NOT_LIMITED),
};
const SILENT_LOG: Log = { info: () => {}, warn: () => {}, error: () => {}, flush: () => {} };
const ANY_USE = {
  requiredScopes: [],
  allowedTiers: [],
  clientIp: "",
  method: "",
  cost: 1,
  limits: [],
  environment: "",
};

/** One process of the service: the shipped modules from the call to the statement, with its own machine and link. */
export class SimulatedService {
  readonly machine: Machine;
  readonly link: DatabaseLink;
  readonly feed: ChangeFeed;
  readonly databaseClock: DatabaseClock;
  readonly staleOkMs: number;
  /** True time at which it last acknowledged a change. */
  acknowledgedAtMs = Number.NEGATIVE_INFINITY;
  readonly #acknowledged = new Map<string, number>();
  readonly #watches = new Watches();
  readonly #deps: SimulatedServiceDeps;
  readonly #bus = new ChangeBus();
  readonly #verifyDeps: VerifyKeyDeps & BatchVerifyKeysDeps & { readonly records: KeyRecords };

  constructor(deps: SimulatedServiceDeps) {
    this.#deps = deps;
    this.machine = deps.machine;
    this.link = deps.link;
    this.staleOkMs = deps.staleOkMs;
    const { clock, timers } = deps.machine;
    const log = SILENT_LOG;
    const breaker = new DatabaseBreaker(clock, timers, () => deps.link.read(() => undefined));
    this.databaseClock = new DatabaseClock(clock);
    const { databaseClock } = this;
    this.feed = new ChangeFeed({
      store: deps.link,
      bus: this.#bus,
      breaker,
      clock,
      databaseClock,
      timers,
      log,
      settings: "",
    });
    const { staleOkMs } = deps;
    const records = new KeyRecords({
      store: { read: (keyIds) => this.#read(keyIds) },
      bus: this.#bus,
      feed: this.feed,
      breaker,
      ring,
      rehasher: { matched: () => {} },
      tiers,
      clock,
      databaseClock,
      log,
      maxRecords: 100,
      staleOkMs,
    });
    const usage = { used: () => {} };
    this.#verifyDeps = { records, limiter: LIMITER, usage, format, databaseClock };
  }

  /** One call for one key, or for several keys in a batch. */
  call(samples: readonly SampleKey[]): void {
    const startedAtMs = this.#deps.time.nowMs;
    const startedAtRanMs = this.machine.ranMs;
    const acknowledged = new Map(this.#acknowledged);
    const loads = new Map<string, Loaded<KeyRecord>>();
    const deps = { ...this.#verifyDeps, records: noting(this.#verifyDeps.records, loads) };
    const tell = (sample: SampleKey, verdict: KeyVerdict | undefined) => {
      const answeredAtMs = this.#deps.time.nowMs;
      const loaded = loads.get(sample.keyId);
      const stillMs = answeredAtMs - startedAtMs - (this.machine.ranMs - startedAtRanMs);
      const isOfBatch = samples.length > 1;
      const stoodStillMs = isOfBatch ? stillMs : 0;
      const times = { startedAtMs, answeredAtMs, stoodStillMs };
      this.#deps.onAnswer(this, { sample, isOfBatch, ...times, verdict, loaded, acknowledged });
    };
    if (samples.length === 1) {
      const [sample] = samples as [SampleKey];
      (async () => verifyKey(deps, { ...ANY_USE, rawKey: sample.rawKey }))()
        .catch(unavailable)
        .then((verdict) => tell(sample, verdict))
        .catch(this.#deps.onError);
      return;
    }
    const inputs = samples.map(({ rawKey }) => ({ ...ANY_USE, rawKey }));
    const tellAll = (outcomes: readonly BatchOutcome[]) => {
      for (const [at, outcome] of outcomes.entries()) {
        tell(samples[at]!, "verdict" in outcome ? outcome.verdict : unavailable(outcome.error));
      }
    };
    batchVerifyKeys(deps, inputs).then(tellAll).catch(this.#deps.onError);
  }

  /** A transaction of this process got its answer: its copies learn of it before its caller does. */
  acknowledge({ kind, subjectId, atMs }: Committed): void {
    this.#bus.publish([{ kind, subjectId }]);
    this.acknowledgedAtMs = this.#deps.time.nowMs;
    this.#acknowledged.set(subjectId, atMs);
  }

  watch(input: WatchInput): AsyncGenerator<WatchMessage> {
    const { link, feed } = this;
    const store = {
      catchUp: (since: string | undefined) => link.catchUp(since),
      endedSessions: () => link.endedSessions(),
    };
    const { timers, clock } = this.machine;
    return watchChanges({ feed, store, clock, timers, accessTokenMs: 0, watches: this.#watches }, input);
  }

  async #read(keyIds: readonly string[]): Promise<KeyRead> {
    const { model } = this.#deps.cluster;
    const { value: keys, databaseMs } = await this.link.read((snapshot) =>
      SAMPLE_KEYS.filter(({ keyId }) => keyIds.includes(keyId)).flatMap((sample) => {
        const key = model.read(snapshot, sample.keyId);
        const owner = model.read(snapshot, sample.ownerId);
        return key === undefined || owner === undefined ? [] : [keyWithSecrets(sample, key, owner)];
      }),
    );
    return { keys, databaseMs };
  }
}

/** The same records. They also note the records that each call got. */
function noting(
  records: KeyRecords,
  loads: Map<string, Loaded<KeyRecord>>,
): (VerifyKeyDeps & BatchVerifyKeysDeps)["records"] {
  return {
    fresh: (rawKey) => {
      const loaded = records.fresh(rawKey);
      if (loaded?.record !== undefined) loads.set(loaded.record.key.id, loaded);
      return loaded;
    },
    find: async (rawKey, keyId) => {
      const loaded = await records.find(rawKey, keyId);
      loads.set(keyId, loaded);
      return loaded;
    },
    findAll: async (keys) => {
      const all = await records.findAll(keys);
      for (const [at, one] of all.entries()) if (one.status === "fulfilled") loads.set(keys[at]!.keyId, one.value);
      return all;
    },
  };
}

function unavailable(error: unknown): undefined {
  if (!(error instanceof DomainError) || error.reason !== "DATABASE_UNAVAILABLE") throw error;
}
