import { inject } from "vitest";

declare module "vitest" {
  interface ProvidedContext {
    /** Whether unary gRPC takes the unary lane; undefined for the server's default. */
    unaryLane?: boolean;
    /** Whether clients of the service make unary calls by REST. */
    restLane?: boolean;
  }
}

/** The lane that this run tests, as an option of a server. */
export const LANE: { readonly unaryLane?: boolean } = laneOf(inject("unaryLane"));

/** Whether this run tests REST: a case that REST can't express says so by it. */
export const SPEAKS_REST = inject("restLane") === true;

function laneOf(unaryLane: boolean | undefined) {
  return unaryLane === undefined ? {} : { unaryLane };
}
