/** Faults of the network between one or all processes and PostgreSQL or Redis. */
import type { FaultProxy } from "../support/fault-proxy.ts";
import { type Drawn, type FaultKind, targetsOf } from "./fault.ts";

type Hurt = (proxy: FaultProxy, drawn: Drawn) => Promise<void> | void;

/** The ways to hurt a link. */
export const HURTS: readonly (readonly [name: string, hurt: Hurt])[] = [
  ["is cut", (proxy) => proxy.cut()],
  ["is reset", (proxy) => proxy.reset()],
  ["hangs", (proxy) => proxy.hang()],
  ["loses all answers", (proxy) => proxy.hang("answers")],
  ["is slow", (proxy, { amount }) => proxy.delay(10 + amount * amount * 590)],
  ["trickles", (proxy, { amount }) => proxy.trickle(20 + Math.round(amount * 400))],
  ["takes no new connection", (proxy) => proxy.refuse()],
];

export const LINK_FAULTS: readonly FaultKind[] = (["postgres", "redis"] as const).flatMap((server) =>
  HURTS.map(([name, hurt]) => ({
    name: `${server} link ${name}`,
    holds: `${server} links` as const,
    isBrief: name === "is reset",
    async begin(world, drawn) {
      const proxies = targetsOf(world, drawn).map((node) => node[server]);
      await Promise.all(proxies.map((proxy) => hurt(proxy, drawn)));
      return () => Promise.all(proxies.map((proxy) => proxy.restore()));
    },
  })),
);
