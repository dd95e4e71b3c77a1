/** Draws faults from a seed and causes them, one or two at a time, until its time is over. */
import { setTimeout as pause } from "node:timers/promises";
import { SeededRandom } from "../simulation/random.ts";
import type { Drawn, FaultKind, Resource } from "./fault.ts";
import { LINK_FAULTS } from "./faults-links.ts";
import { POSTGRES_FAULTS } from "./faults-postgres.ts";
import { PROCESS_FAULTS } from "./faults-processes.ts";
import { REDIS_FAULTS } from "./faults-redis.ts";
import { type FaultRecord, nowMs } from "./history.ts";
import type { World } from "./world.ts";

export const FAULTS: readonly FaultKind[] = [...PROCESS_FAULTS, ...LINK_FAULTS, ...POSTGRES_FAULTS, ...REDIS_FAULTS];

/** Maximum number of faults at a time. */
const LANES = 2;
/** Share of faults that last longer than records are fresh (5 s). */
const LONG_CHANCE = 0.12;

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
  readonly #world: World;
  readonly #draws: Iterator<Drawn, never>;
  readonly #lanes: number;
  readonly #held = new Set<Resource>();
  readonly #waiting: Drawn[] = [];

  constructor(world: World, seed: number, kinds: readonly FaultKind[]) {
    this.#world = world;
    this.#draws = draws(seed, kinds);
    // More lanes than parts of the world would search for a free part without an end.
    this.#lanes = Math.min(LANES, new Set(kinds.map(({ holds }) => holds)).size);
  }

  /** Resolves when the time is over and every fault is healed. */
  async run(untilMs: number): Promise<void> {
    await Promise.all(Array.from({ length: this.#lanes }, () => this.#lane(untilMs)));
  }

  async #lane(untilMs: number): Promise<void> {
    while (nowMs() < untilMs) {
      const drawn = this.#next();
      const { holds } = drawn.kind;
      this.#held.add(holds);
      await this.#make(drawn, untilMs);
      this.#held.delete(holds);
      await pause(Math.min(drawn.pauseMs, Math.max(0, untilMs - nowMs())));
    }
  }

  /** The first drawn fault whose part no other fault holds. Skipped faults come later. */
  #next(): Drawn {
    for (;;) {
      const at = this.#waiting.findIndex(({ kind }) => !this.#held.has(kind.holds));
      if (at >= 0) return this.#waiting.splice(at, 1)[0]!;
      this.#waiting.push(this.#draws.next().value);
    }
  }

  async #make(drawn: Drawn, untilMs: number): Promise<void> {
    const { kind } = drawn;
    const target = targetOf(drawn);
    const startedMs = nowMs();
    const name = target === "" ? kind.name : `${kind.name} (${target})`;
    this.active.add(name);
    try {
      const heal = await kind.begin(this.#world, drawn);
      await pause(Math.min(drawn.holdMs, Math.max(0, untilMs - nowMs())));
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

/** The target of a fault in words; "" for a fault of a server, which all processes share. */
function targetOf({ kind, isAboutAll, node }: Drawn): string {
  if (kind.holds === "postgres" || kind.holds === "redis" || kind.endsProcesses === "all") return "";
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
