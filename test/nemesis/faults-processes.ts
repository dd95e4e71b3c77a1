/** Faults of the service's own processes. */

import { until } from "../support/until.ts";
import { type FaultKind, nothing, targetsOf } from "./fault.ts";

/** A rollout waits at most this long for a start, like an impatient operator. */
const MOST_START_MS = 5000;

export const PROCESS_FAULTS: readonly FaultKind[] = [
  {
    name: "process paused",
    holds: "processes",
    async begin(world, drawn) {
      const nodes = targetsOf(world, drawn);
      for (const node of nodes) node.signal("SIGSTOP");
      return async () => nodes.forEach((node) => void node.signal("SIGCONT"));
    },
  },
  {
    name: "process stalls again and again",
    holds: "processes",
    async begin(world, drawn) {
      const nodes = targetsOf(world, drawn);
      const stallMs = 60 + drawn.amount * 400;
      let isOver = false;
      const stalling = (async () => {
        while (!isOver) {
          for (const node of nodes) node.signal("SIGSTOP");
          await after(stallMs);
          for (const node of nodes) node.signal("SIGCONT");
          await after(stallMs);
        }
      })();
      return async () => {
        isOver = true;
        await stalling;
      };
    },
  },
  {
    name: "process killed",
    holds: "processes",
    endsProcesses: "one",
    isBrief: true,
    async begin({ nodes }, { node }) {
      await nodes[node]!.kill();
      return async () => nodes[node]!.start();
    },
  },
  {
    name: "process stopped and started",
    holds: "processes",
    endsProcesses: "one",
    isBrief: true,
    async begin({ nodes }, { node }) {
      await nodes[node]!.stop();
      return async () => nodes[node]!.start();
    },
  },
  {
    name: "all processes killed",
    holds: "processes",
    endsProcesses: "all",
    isBrief: true,
    async begin({ nodes }) {
      await Promise.all(nodes.map((node) => node.kill()));
      return async () => nodes.forEach((node) => void node.start());
    },
  },
  {
    name: "rolling restart",
    holds: "processes",
    endsProcesses: "all",
    isBrief: true,
    async begin({ nodes }) {
      for (const node of nodes) {
        await node.stop();
        node.start();
        await Promise.race([node.ready().catch(() => {}), after(MOST_START_MS)]);
      }
      return nothing;
    },
  },
];

function after(ms: number): Promise<void> {
  const endMs = performance.now() + ms;
  return until(async () => performance.now() >= endMs, "time has passed");
}
