/** Faults of the near clients: of their process, and of the links to their processes of the service. */
import { type FaultKind, nothing } from "./fault.ts";
import { HURTS } from "./faults-links.ts";

export const NEAR_FAULTS: readonly FaultKind[] = [
  {
    name: "near clients paused",
    holds: "near clients",
    async begin({ near }) {
      near.signal("SIGSTOP");
      return async () => near.signal("SIGCONT");
    },
  },
  {
    name: "near clients killed",
    holds: "near clients",
    isBrief: true,
    endsNearClients: true,
    async begin({ near }) {
      await near.kill();
      return async () => near.start();
    },
  },
  ...HURTS.map(([name, hurt]) => ({
    name: `near link ${name}`,
    holds: "near links" as const,
    isBrief: name === "is reset",
    async begin(world: Parameters<FaultKind["begin"]>[0], drawn: Parameters<FaultKind["begin"]>[1]) {
      const proxies = drawn.isAboutAll ? world.near.links : [world.near.links[drawn.node]!];
      await Promise.all(proxies.map((proxy) => hurt(proxy, drawn)));
      return name === "is reset" ? nothing : () => Promise.all(proxies.map((proxy) => proxy.restore()));
    },
  })),
];
