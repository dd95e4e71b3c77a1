import { inject } from "vitest";

declare module "vitest" {
  interface ProvidedContext {
    /** Whether unary gRPC takes the unary lane; undefined for the server's default. */
    unaryLane?: boolean;
  }
}

/** The lane that this run tests, as an option of a server. */
export const LANE: { readonly unaryLane?: boolean } = laneOf(inject("unaryLane"));

function laneOf(unaryLane: boolean | undefined) {
  return unaryLane === undefined ? {} : { unaryLane };
}
