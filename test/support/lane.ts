import { inject } from "vitest";

declare module "vitest" {
  interface ProvidedContext {
    /** Whether unary gRPC goes the short way; undefined for the server's default. */
    unaryLane?: boolean;
  }
}

/** The lane that this run is about, as an option of a server. */
export const LANE: { readonly unaryLane?: boolean } = laneOf(inject("unaryLane"));

function laneOf(unaryLane: boolean | undefined) {
  return unaryLane === undefined ? {} : { unaryLane };
}
