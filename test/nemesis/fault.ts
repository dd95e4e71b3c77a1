/** A kind of fault, and a drawn one. */
import type { FaultEffects } from "./history.ts";
import type { World } from "./world.ts";

/** The part that a fault is about; two faults never hold the same at once. */
export type Resource = "postgres" | "redis" | "processes" | "postgres links" | "redis links";

/** One draw: the same seed draws the same. */
export interface Drawn {
  readonly kind: FaultKind;
  /** Of the process that it is about. */
  readonly node: number;
  /** About all processes instead of one. */
  readonly isAboutAll: boolean;
  readonly holdMs: number;
  readonly pauseMs: number;
  /** In [0, 1), for what else the kind draws. */
  readonly amount: number;
}

/** Takes the fault away again. */
export type Heal = () => Promise<unknown>;

export interface FaultKind extends Omit<FaultEffects, "endsProcesses"> {
  readonly name: string;
  readonly holds: Resource;
  /** It is over in a moment, or lasts as long as what it starts; its time to hold is short. */
  readonly isBrief?: boolean;
  readonly endsProcesses?: "one" | "all";
  begin(world: World, drawn: Drawn): Promise<Heal>;
}

export const nothing: Heal = async () => {};

/** The nodes that a draw is about. */
export function targetsOf(world: World, { isAboutAll, node }: Drawn) {
  return isAboutAll ? world.nodes : [world.nodes[node]!];
}
