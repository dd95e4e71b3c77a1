/** A kind of fault, and a drawn one. */
import type { FaultEffects } from "./history.ts";
import type { World } from "./world.ts";

/** The part of the world that a fault disturbs. Two faults never hold the same part at once. */
export type Resource =
  | "postgres"
  | "redis"
  | "processes"
  | "postgres links"
  | "redis links"
  | "near clients"
  | "near links";

/** One drawn fault. The same seed draws the same faults. */
export interface Drawn {
  readonly kind: FaultKind;
  /** Index of the disturbed process. */
  readonly node: number;
  /** True if the fault disturbs all processes. */
  readonly isAboutAll: boolean;
  readonly holdMs: number;
  readonly pauseMs: number;
  /** A random number in [0, 1) for other choices of the kind. */
  readonly amount: number;
}

/** Ends the fault. */
export type Heal = () => Promise<unknown>;

export interface FaultKind extends Omit<FaultEffects, "endsProcesses"> {
  readonly name: string;
  readonly holds: Resource;
  /** True for a fault that ends by itself. It holds its part for at most a second. */
  readonly isBrief?: boolean;
  readonly endsProcesses?: "one" | "all";
  readonly endsNearClients?: boolean;
  begin(world: World, drawn: Drawn): Promise<Heal>;
}

export const nothing: Heal = async () => {};

/** The nodes that a drawn fault disturbs. */
export function targetsOf(world: World, { isAboutAll, node }: Drawn) {
  return isAboutAll ? world.nodes : [world.nodes[node]!];
}
