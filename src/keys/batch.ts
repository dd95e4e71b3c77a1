import { invalidField } from "../lib/errors.ts";

const MAX_BATCH = 256;

/** Checks the number of requests of a batch. @throws INVALID_FIELD above 256 */
export function checkBatchSize(requests: readonly unknown[]): void {
  if (requests.length > MAX_BATCH) throw invalidField("requests", `must have at most ${MAX_BATCH} entries`);
}

/** The result of some work, or the error that it throws: an error of one request must not fail the batch. */
export function attempt<T>(work: () => T): T | { readonly error: unknown } {
  try {
    return work();
  } catch (error) {
    return { error };
  }
}
