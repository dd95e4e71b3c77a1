/** Draws faults from a seed and causes them, one or two at a time, until its time is over. */
import { setTimeout as pause } from "node:timers/promises";
import { SeededRandom } from "../simulation/random.ts";
import type { Drawn, FaultKind, Resource } from "./fault.ts";
import { LINK_FAULTS } from "./faults-links.ts";
import { NEAR_FAULTS } from "./faults-near.ts";
import { POSTGRES_FAULTS } from "./faults-postgres.ts";
import { PROCESS_FAULTS } from "./faults-processes.ts";
import { REDIS_FAULTS } from "./faults-redis.ts";
import { type FaultRecord, nowMs } from "./history.ts";
import { type Rhythm, STEADY, stormLeftMs } from "./rhythm.ts";
import type { World } from "./world.ts";

export const FAULTS: readonly FaultKind[] = [
  ...PROCESS_FAULTS,
  ...LINK_FAULTS,
  ...POSTGRES_FAULTS,
  ...REDIS_FAULTS,
  ...NEAR_FAULTS,
];

/** Maximum number of faults at a time. */
const LANES = 2;
/** Share of faults that last longer than records are fresh (5 s). */
const LONG_CHANCE = 0.12;

export interface NemesisOptions {
  readonly seed: number;
  /** Not only kinds that end processes, if the rhythm keeps processes. */
  readonly kinds: readonly FaultKind[];
  /** Default: one storm. */
  readonly rhythm?: Rhythm;
}

interface RunTime {
  readonly startedMs: number;
  readonly untilMs: number;
  readonly stop: AbortSignal;
}

/** The endless faults of a seed. Each kind comes once before any comes again. */
function* draws(seed: number, kinds: readonly FaultKind[]): Generator<Drawn, never> {
  const random = new SeededRandom(seed);
  for (;;) {
    for (const kind of shuffled(kinds, random)) {
      const isLong = random.chance(LONG_CHANCE);
      const holdMs = isLong ? random.between(6000, 12_000) : random.between(300, 3500);
      yield {
        kind,
        node: random.whole(0, 2),
        isAboutAll: random.chance(0.35),
        holdMs: kind.isBrief ? Math.min(holdMs, 1000) : holdMs,
        pauseMs: random.between(100, 1500),
        amount: random.next(),
      };
    }
  }
}

function shuffled<T>(items: readonly T[], random: SeededRandom): T[] {
  const left = [...items];
  return Array.from(items, () => left.splice(random.whole(0, left.length - 1), 1)[0]!);
}

export class Nemesis {
  readonly records: FaultRecord[] = [];
  /** Names of the faults that last now. */
  readonly active = new Set<string>();
  readonly #options: NemesisOptions;
  readonly #world: World;
  readonly #draws: Iterator<Drawn, never>;
  readonly #lanes: number;
  readonly #held = new Set<Resource>();
  readonly #waiting: Drawn[] = [];

  constructor(world: World, options: NemesisOptions) {
    const { seed, kinds } = options;
    this.#world = world;
    this.#options = options;
    this.#draws = draws(seed, kinds);
    // More lanes than parts of the world would search for a free part without an end.
    this.#lanes = Math.min(LANES, new Set(kinds.map(({ holds }) => holds)).size);
  }

  /** Resolves when the time is over and every fault is healed. `stop` ends the time early. */
  async run(untilMs: number, stop: AbortSignal): Promise<void> {
    const time = { startedMs: nowMs(), untilMs, stop };
    await Promise.all(Array.from({ length: this.#lanes }, () => this.#lane(time)));
  }

  async #lane(time: RunTime): Promise<void> {
    const { rhythm = STEADY } = this.#options;
    while (nowMs() < time.untilMs && !time.stop.aborted) {
      const stormMs = stormLeftMs(rhythm, nowMs() - time.startedMs);
      if (stormMs <= 0) {
        await rest(-stormMs, time);
        continue;
      }
      const drawn = this.#next(nowMs() - time.startedMs >= rhythm.keepsProcessesFromMs);
      const { holds } = drawn.kind;
      this.#held.add(holds);
      await this.#make({ ...drawn, holdMs: Math.min(drawn.holdMs, stormMs) }, time);
      this.#held.delete(holds);
      await rest(drawn.pauseMs, time);
    }
  }

  /** The first drawn fault whose part no other fault holds. Skipped faults come later. */
  #next(keepsProcesses: boolean): Drawn {
    for (;;) {
      const at = this.#waiting.findIndex(({ kind }) => !this.#held.has(kind.holds));
      const drawn = at >= 0 ? this.#waiting.splice(at, 1)[0]! : this.#draws.next().value;
      if (keepsProcesses && endsLife(drawn.kind)) continue;
      if (at >= 0) return drawn;
      this.#waiting.push(drawn);
    }
  }

  async #make(drawn: Drawn, time: RunTime): Promise<void> {
    const { kind } = drawn;
    const target = targetOf(drawn);
    const startedMs = nowMs();
    const name = target === "" ? kind.name : `${kind.name} (${target})`;
    this.active.add(name);
    try {
      const heal = await kind.begin(this.#world, drawn);
      await rest(drawn.holdMs, time);
      await heal();
    } finally {
      this.active.delete(name);
      this.records.push({
        kind: kind.name,
        target,
        startedMs,
        endedMs: nowMs(),
        stopsPostgres: kind.stopsPostgres ?? false,
        emptiesRedis: kind.emptiesRedis ?? false,
        endsProcesses: endedBy(drawn),
      });
    }
  }
}

function endsLife({ endsProcesses, endsNearClients }: FaultKind): boolean {
  return endsProcesses !== undefined || endsNearClients === true;
}

/** Waits, at most until the time is over. */
async function rest(ms: number, { untilMs, stop }: RunTime): Promise<void> {
  const mostMs = Math.max(0, untilMs - nowMs());
  await pause(Math.min(ms, mostMs), undefined, { signal: stop }).catch(() => {});
}

/** The target of a fault in words; "" for a fault of a server, which all processes share. */
function targetOf({ kind, isAboutAll, node }: Drawn): string {
  if (kind.holds === "postgres" || kind.holds === "redis" || kind.endsProcesses === "all") return "";
  if (kind.holds === "near clients") return "";
  return isAboutAll && kind.endsProcesses === undefined ? "all processes" : `process ${node}`;
}

function endedBy({ kind, node }: Drawn): readonly number[] {
  switch (kind.endsProcesses) {
    case "all":
      return [0, 1, 2];
    case "one":
      return [node];
    case undefined:
      return [];
    default:
      return kind.endsProcesses satisfies never;
  }
}
