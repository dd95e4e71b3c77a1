import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Client, createContextValues } from "@connectrpc/connect";
import type {
  CheckRateLimitRequestSchema,
  KeyService,
  VerifyKeyResponse,
} from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { errorOf, errorOfStatus, LatchkeyUnavailable } from "./errors.ts";
import type { Outcome, SendCalls } from "./group-commit.ts";
import type { Exchange, NearCache } from "./near/near-cache.ts";
import type { Outage } from "./outage.ts";
import { countsNothing } from "./service-transport.ts";

/** An answer, and the state of the near cache before its call was sent. */
export interface Answer {
  readonly response: VerifyKeyResponse;
  readonly exchange: Exchange;
}

export interface ServiceCallsDeps {
  readonly keys: Client<typeof KeyService>;
  readonly near: Pick<NearCache, "begin">;
  readonly outage: Pick<Outage, "failed" | "succeeded">;
  readonly deadlineMs: number;
}

type CheckRateLimitInit = MessageInitShape<typeof CheckRateLimitRequestSchema>;

/** The calls for verdicts, with their counts for `stats`. */
export class ServiceCalls {
  readonly #deps: ServiceCallsDeps;
  readonly counts = { calls: 0, batches: 0, reports: 0 };

  constructor(deps: ServiceCallsDeps) {
    this.#deps = deps;
  }

  /** VerifyKey for one call, BatchVerifyKeys for several. */
  readonly verify: SendCalls<Answer> = async (calls, options) => {
    try {
      const outcomes = await this.#verify(calls, options);
      this.#deps.outage.succeeded();
      return outcomes;
    } catch (error) {
      const failure = errorOf(error);
      this.#deps.outage.failed(failure);
      throw failure;
    }
  };

  readonly #verify: SendCalls<Answer> = async (calls, { timeoutMs, calmly }) => {
    const { keys, near } = this.#deps;
    const options = { timeoutMs, contextValues: contextOf(calmly) };
    this.counts.calls++;
    const exchange = near.begin();
    if (calls.length === 1) return [{ answer: { response: await keys.verifyKey(calls[0]!, options), exchange } }];
    this.counts.batches++;
    const { results } = await keys.batchVerifyKeys({ requests: [...calls] }, options);
    return results.map(({ outcome }): Outcome<Answer> => {
      if (outcome.case === "response") return { answer: { response: outcome.value, exchange } };
      if (outcome.case === "error") return { error: errorOfStatus(outcome.value) };
      return { error: new LatchkeyUnavailable("the service gave an answer without an outcome") };
    });
  };

  checkRateLimit(call: CheckRateLimitInit, signal: AbortSignal | undefined) {
    this.counts.calls++;
    return this.#deps.keys.checkRateLimit(call, { ...this.#options(call.cost === 0), ...(signal && { signal }) });
  }

  /** Reports calls that were admitted already. */
  readonly report = (requests: readonly CheckRateLimitInit[]) => {
    this.counts.reports++;
    return this.#deps.keys.batchCheckRateLimits({ requests: [...requests] }, this.#options(false));
  };

  /** Asks about a text that no key has. Its form alone decides, so it costs no read. */
  async probe(): Promise<void> {
    await this.#deps.keys.verifyKey({ apiKey: "ready", cost: 0 }, this.#options(true));
  }

  #options(calmly: boolean) {
    return { timeoutMs: this.#deps.deadlineMs, contextValues: contextOf(calmly) };
  }
}

function contextOf(calmly: boolean) {
  return createContextValues().set(countsNothing, calmly);
}
