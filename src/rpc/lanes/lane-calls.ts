import type { Route } from "../routes.ts";

/**
 * The ways by which calls come: unary gRPC by its own lane, Envoy's services on it, the three protocols of the Connect
 * lane, and REST.
 */
export const LANES = ["unary_grpc", "envoy", "grpc", "grpc_web", "connect", "rest"] as const;
export type LaneName = (typeof LANES)[number];

/** Number of calls since the start, by lane. */
export type LaneCalls = Record<LaneName, number>;

export function noLaneCalls(): LaneCalls {
  return { unary_grpc: 0, envoy: 0, grpc: 0, grpc_web: 0, connect: 0, rest: 0 };
}

/** The lane of a call that the unary lane takes. */
export function unaryLaneOf({ path }: Route): LaneName {
  return path.startsWith("/envoy.") ? "envoy" : "unary_grpc";
}

/** The lane of a call of the Connect lane, by connect-es' name of its protocol. */
export function connectLaneOf(protocol: string): LaneName {
  if (protocol === "connect") return "connect";
  return protocol === "grpc-web" ? "grpc_web" : "grpc";
}
