/** Makes calls and records their outcomes. */
import { Code, ConnectError } from "@connectrpc/connect";
import { ErrorInfoSchema } from "../../src/gen/google/rpc/error_details_pb.ts";
import { nowMs, type Operation, type Outcome } from "./history.ts";

/** A call and its outcome. */
export interface Called<T> {
  readonly process: number;
  readonly startedMs: number;
  readonly endedMs: number;
  readonly outcome: Outcome;
  /** undefined after an error. */
  readonly answer: T | undefined;
}

export async function called<T>(process: number, call: () => Promise<T>): Promise<Called<T>> {
  const startedMs = nowMs();
  try {
    const answer = await call();
    return { process, startedMs, endedMs: nowMs(), outcome: { kind: "ok" }, answer };
  } catch (error) {
    return { process, startedMs, endedMs: nowMs(), outcome: outcomeOf(error), answer: undefined };
  }
}

function outcomeOf(error: unknown): Outcome {
  const connectError = ConnectError.from(error);
  const [info] = connectError.findDetails(ErrorInfoSchema);
  return { kind: "error", code: Code[connectError.code] as keyof typeof Code, reason: info?.reason ?? "" };
}

/** All operations of a run, in the order of their ends. */
export class Recorder {
  readonly operations: Operation[] = [];

  add(operation: Operation): void {
    this.operations.push(operation);
  }
}
