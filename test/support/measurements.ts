/** Measured times and their statistics. */
import { Code, ConnectError } from "@connectrpc/connect";
import { VerdictSchema, type VerifyKeyResponse } from "../../src/gen/latchkey/v1/key_service_pb.ts";

/** The smallest value that at least this share of the values does not exceed (nearest rank). */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}

/** Prints a measurement in the run's output. No test depends on it. */
export function report(what: string, ms: readonly number[]): void {
  const figures = [0.5, 0.99, 1].map((share) => quantile(ms, share).toFixed(1));
  process.stderr.write(
    `      ${what}: p50 ${figures[0]} ms, p99 ${figures[1]} ms, max ${figures[2]} ms (${ms.length})\n`,
  );
}

/** One call of VerifyKey as its client saw it. */
export interface Answer {
  /** By the client's monotonic clock. */
  readonly askedAtMs: number;
  readonly tookMs: number;
  /** Name of the verdict, or of the gRPC code if the call failed. */
  readonly said: string;
  readonly response: VerifyKeyResponse | undefined;
}

/** Waits for an answer or an error, and measures the time. */
export async function answerTo(call: () => Promise<VerifyKeyResponse>): Promise<Answer> {
  const askedAtMs = performance.now();
  const outcome = await call().then(
    (response) => ({ said: VerdictSchema.value[response.verdict]?.localName ?? "unknown", response }),
    (error: unknown) => ({ said: Code[ConnectError.from(error).code] as string, response: undefined }),
  );
  return { askedAtMs, tookMs: performance.now() - askedAtMs, ...outcome };
}

/** The number of answers by `said`. */
export function tally(answers: readonly Answer[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { said } of answers) counts[said] = (counts[said] ?? 0) + 1;
  return counts;
}
