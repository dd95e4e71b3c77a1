/** An error as a client sees it: its code and details, as the contract promises them. */
import { ConnectError } from "@connectrpc/connect";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "../../src/gen/google/rpc/error_details_pb.ts";

export interface SeenError {
  /** Name of the gRPC code, as `not_found`. */
  readonly code: number;
  readonly message: string;
  readonly reason: string | undefined;
  readonly metadata: Readonly<Record<string, string>>;
  /** Fields that BadRequest names. */
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

/** The error that a call ends with. @throws Error if it succeeds, or breaks what holds for every error */
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
