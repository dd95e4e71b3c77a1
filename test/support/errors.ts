/** An error as a client sees it: the code and details that the contract promises. */
import { ConnectError } from "@connectrpc/connect";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "../../src/gen/google/rpc/error_details_pb.ts";

export interface SeenError {
  /** Name of the gRPC code, as `not_found`. */
  readonly code: number;
  readonly message: string;
  readonly reason: string | undefined;
  readonly metadata: Readonly<Record<string, string>>;
  /** The fields that BadRequest names. */
  readonly fields: readonly string[];
  readonly hasRetryInfo: boolean;
}

/** The error that a function throws. @throws Error if it throws nothing */
export function errorThrownBy(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  throw new Error("nothing was thrown");
}

/** The error of a failed call. @throws Error if the call succeeds, or if the error breaks a rule for all errors */
export async function errorOf(call: Promise<unknown>): Promise<SeenError> {
  const error = await call.then(
    () => {
      throw new Error("the call succeeded");
    },
    (reason: unknown) => reason,
  );
  if (!(error instanceof ConnectError)) throw error;
  const infos = error.findDetails(ErrorInfoSchema);
  if (infos.length !== 1 || infos[0]?.domain !== "latchkey") throw new Error(`not one ErrorInfo: ${error.message}`);
  return {
    code: error.code,
    message: error.rawMessage,
    reason: infos[0].reason,
    metadata: infos[0].metadata,
    fields: error.findDetails(BadRequestSchema).flatMap((detail) => detail.fieldViolations.map(({ field }) => field)),
    hasRetryInfo: error.findDetails(RetryInfoSchema).length > 0,
  };
}
