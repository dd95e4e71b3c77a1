import type { Cluster, Committed } from "../simulation/cluster.ts";
import type { SeededRandom } from "../simulation/random.ts";
import type { Row } from "../simulation/truth.ts";
import type { VirtualTime } from "../simulation/virtual-time.ts";
import { endingAt, GRANTS, type NearKey, SCOPES, TIER_NAMES } from "./near-keys.ts";

export interface WritersDeps {
  readonly time: VirtualTime;
  readonly random: SeededRandom;
  readonly cluster: Cluster;
  readonly samples: readonly NearKey[];
  readonly sessions: readonly string[];
  /** Called with the key that a change concerns: when it begins, and when it is committed. */
  readonly onChange: (sample: NearKey, committed: Committed | undefined) => void;
}

/** The fields that a change sets; undefined deletes the row. */
type Change = Partial<Row> | undefined;

/** The people and services that change keys, their owners and sessions. */
export class Writers {
  readonly #deps: WritersDeps;

  constructor(deps: WritersDeps) {
    this.#deps = deps;
  }

  /** The state at the beginning: some keys are not issued yet, and some sessions have ended. */
  begin(): void {
    const { cluster, samples, sessions, random } = this.#deps;
    for (const sessionId of sessions) {
      const row = { ...cluster.newRow("revoked"), endedAtMs: cluster.clockAt(0) };
      if (random.chance(0.3)) cluster.writeFirst("SESSION", sessionId, row);
    }
    for (const ownerId of new Set(samples.map((sample) => sample.ownerId))) {
      cluster.writeFirst("OWNER", ownerId, this.#owner(ownerId, { owner: { tier: "gold", scopes: ["*"] } }));
    }
    for (const sample of samples) {
      if (random.chance(0.85)) cluster.writeFirst("KEY", sample.keyId, this.#issued(sample));
    }
  }

  /** Changes something now. */
  change(): void {
    const { cluster, random, samples, sessions } = this.#deps;
    if (random.chance(0.15)) {
      const sessionId = random.pick(sessions);
      if (cluster.truth.now(sessionId) === undefined) this.#end(sessionId);
      return;
    }
    const sample = random.pick(samples);
    const onCommit = (committed: Committed) => this.#deps.onChange(sample, committed);
    if (random.chance(0.3)) {
      const row = this.#owner(sample.ownerId, this.#changeOfOwner(sample.ownerId));
      cluster.run({ kind: "OWNER", subjectId: sample.ownerId, row, onCommit });
    } else {
      cluster.run({ kind: "KEY", subjectId: sample.keyId, row: this.#changedKey(sample), onCommit });
    }
    this.#deps.onChange(sample, undefined);
  }

  #end(sessionId: string): void {
    const { cluster, time } = this.#deps;
    const endedAtMs = cluster.clockAt(time.nowMs);
    const row = { ...cluster.newRow("revoked"), endedAtMs };
    cluster.run({ kind: "SESSION", subjectId: sessionId, row, onCommit: () => {} });
  }

  #issued(sample: NearKey): Row {
    const { cluster, random } = this.#deps;
    const tier = random.pick(TIER_NAMES);
    return { ...cluster.newRow("active"), key: { tier, scopes: SCOPES }, secrets: [sample.secret] };
  }

  #owner(ownerId: string, change: Change): Row {
    const { cluster } = this.#deps;
    const before = cluster.truth.now(ownerId);
    return { ...(before ?? {}), ...cluster.newRow(before?.state ?? "active"), ...change };
  }

  #changeOfOwner(ownerId: string): Change {
    const { cluster, random } = this.#deps;
    const before = cluster.truth.now(ownerId)!;
    const { owner } = before;
    if (random.chance(0.5)) return { state: before.state === "active" ? "disabled" : "active" };
    if (random.chance(0.5)) return { owner: { ...owner, scopes: random.pick(GRANTS) } };
    return { owner: { ...owner, tier: random.pick(TIER_NAMES) } };
  }

  #changedKey(sample: NearKey): Row | undefined {
    const { cluster, random } = this.#deps;
    const before = cluster.truth.now(sample.keyId);
    if (before === undefined) return this.#issued(sample);
    const changes: readonly (() => Change)[] = [
      () => this.#toggled(before),
      () => this.#toggled(before),
      () => ({ key: { ...before.key, expiresAtMs: this.#soon(6000) } }),
      () => ({ key: { ...before.key, expiresAtMs: undefined } }),
      () => this.#rotated(sample, before),
      () => this.#rotated(sample, before),
      () => ({ key: { ...before.key, scopes: random.pick([SCOPES, ["read"], []]) } }),
      () => ({ key: { ...before.key, tier: random.pick(TIER_NAMES) } }),
      () => ({ key: { ...before.key, limits: { perMinute: random.pick([undefined, 5]), perDay: undefined } } }),
      // A reset of its limits: told as a change, with the same row.
      () => ({}),
      () => undefined,
      () => (random.chance(0.3) ? { state: "revoked", key: { ...before.key, disabledBy: undefined } } : {}),
    ];
    const change = random.pick(changes)();
    return change && { ...before, ...cluster.newRow(before.state), ...change };
  }

  #toggled({ state, key }: Row): Change {
    if (state === "revoked") return {};
    const isActive = state === "active";
    return { state: isActive ? "disabled" : "active", key: { ...key, disabledBy: isActive ? "usr_0" : undefined } };
  }

  /** A rotation: the newest secret ends soon, or at once, and the next one begins. */
  #rotated({ secrets, secret }: NearKey, { secrets: stored = [secret] }: Row): Change {
    const next = secrets[stored.length];
    if (next === undefined) return {};
    const [newest, ...older] = stored;
    const ending = { ...newest!, expiresAtMs: this.#soon(4000) };
    return { secrets: [endingAt(next, undefined), ending, ...older] };
  }

  /** A time by the database's clock, close to now. */
  #soon(mostMs: number): number {
    const { cluster, random, time } = this.#deps;
    return Math.floor(cluster.clockAt(time.nowMs) + random.between(-1000, mostMs));
  }
}
