/**
 * DOORS to the places that audit events are exported to.
 *
 *   webhook.ts         an HTTP receiver, by Standard Webhooks
 *   line-file.ts       a file, as JSON lines
 *   standard-lines.ts  the standard output, as JSON lines
 *   written-lines.ts   the outcome of lines that are written together
 *
 * A door does one delivery. It knows no queue and no retries.
 */
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { Webhook } from "standardwebhooks";
import type { AuditEvent } from "../audit/audit-event.ts";
import { exportedEvent } from "../audit/export/exported-event.ts";
import { type Delivery, type Destination, MOST_DELIVERY_MS } from "../audit/export/exporter.ts";
import type { Clock } from "../lib/clock.ts";
import { codedCause } from "../lib/errors.ts";

export interface WebhookOptions {
  /** http or https. */
  readonly url: string;
  /** `whsec_` and base64. Each signs, so that a receiver may know any of them. */
  readonly secrets: readonly string[];
  readonly clock: Pick<Clock, "nowMs">;
  /** Time for one answer. Only tests set it. */
  readonly timeoutMs?: number;
}

/** Maximum requests at the same time, each of another subject. */
const CONCURRENT = 8;
const TIMEOUT_MS = 15_000;
/** No request begins later than this in a delivery, so that the delivery ends in time. */
const LAST_BEGIN_MS = MOST_DELIVERY_MS - TIMEOUT_MS;
const MAX_HEADER_BYTES = 16 << 10;
/** Maximum bytes of an answer that are read and dropped, so that its connection can be used again. */
const MAX_ANSWER_BYTES = 64 << 10;

/** The outcome of one request. */
interface Answer {
  /** Undefined if the receiver took the event. */
  readonly failure: string | undefined;
  /** Whether the receiver answered with a status. */
  readonly isFromReceiver: boolean;
  readonly retryAfterMs: number | undefined;
}

/**
 * A receiver of Standard Webhooks (https://www.standardwebhooks.com). An answer 2xx takes the event; everything else
 * fails, a redirect too: the service sends events to the configured URL alone.
 */
export class WebhookDestination implements Destination {
  readonly name = "webhook";
  readonly #url: URL;
  readonly #signers: readonly Webhook[];
  readonly #clock: WebhookOptions["clock"];
  readonly #timeoutMs: number;
  readonly #agent: HttpAgent;
  readonly #closing = new AbortController();

  constructor({ url, secrets, clock, timeoutMs = TIMEOUT_MS }: WebhookOptions) {
    this.#url = new URL(url);
    this.#signers = secrets.map((secret) => new Webhook(secret));
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
    const Agent = this.#url.protocol === "https:" ? HttpsAgent : HttpAgent;
    this.#agent = new Agent({ keepAlive: true, maxSockets: CONCURRENT });
  }

  async deliver(events: readonly AuditEvent[]): Promise<Delivery> {
    const delivered = new Set<string>();
    const failed = new Map<string, string>();
    const refused = new Set<string>();
    let retryAfterMs: number | undefined;
    const chains = bySubject(events);
    const end = AbortSignal.timeout(LAST_BEGIN_MS);
    let begun = 0;
    const sendChains = async () => {
      // Unless one of the first requests succeeds, the others would probably fail too.
      while (!end.aborted && (delivered.size > 0 || begun < CONCURRENT)) {
        const chain = chains.shift();
        if (chain === undefined) return;
        begun++;
        for (const event of chain) {
          if (end.aborted) break;
          const { failure, isFromReceiver, ...answer } = await this.#send(event);
          retryAfterMs = answer.retryAfterMs ?? retryAfterMs;
          if (failure === undefined) {
            delivered.add(event.id);
            continue;
          }
          failed.set(event.id, failure);
          if (isFromReceiver) refused.add(event.id);
          break;
        }
      }
    };
    await Promise.all(Array.from({ length: CONCURRENT }, sendChains));
    return { delivered, failed, refused, retryAfterMs };
  }

  close(): void {
    this.#closing.abort();
    this.#agent.destroy();
  }

  #send(event: AuditEvent): Promise<Answer> {
    const { id, text } = exportedEvent(event);
    const at = new Date(this.#clock.nowMs());
    const body = Buffer.from(text);
    const headers = {
      "content-type": "application/json",
      "content-length": body.length,
      "user-agent": "latchkey",
      "webhook-id": id,
      "webhook-timestamp": `${Math.floor(at.getTime() / 1000)}`,
      "webhook-signature": this.#signers.map((signer) => signer.sign(id, at, text)).join(" "),
    };
    const signal = AbortSignal.any([this.#closing.signal, AbortSignal.timeout(this.#timeoutMs)]);
    const request = this.#url.protocol === "https:" ? httpsRequest : httpRequest;
    const options = { method: "POST", agent: this.#agent, headers, signal, maxHeaderSize: MAX_HEADER_BYTES };
    return new Promise((resolve) => {
      const sent = request(this.#url, options, (answer) => {
        dropBody(answer);
        const status = answer.statusCode ?? 0;
        const failure = status >= 200 && status < 300 ? undefined : `HTTP ${status}`;
        resolve({ failure, isFromReceiver: true, retryAfterMs: this.#retryAfterMs(answer.headers["retry-after"]) });
      });
      sent.on("error", (error) =>
        resolve({ failure: reasonOf(error), isFromReceiver: false, retryAfterMs: undefined }),
      );
      sent.end(body);
    });
  }

  /** RFC 9110 10.2.3: seconds, or a date. */
  #retryAfterMs(value: string | undefined): number | undefined {
    if (value === undefined) return undefined;
    const waitMs = /^\d{1,9}$/.test(value) ? Number(value) * 1000 : Date.parse(value) - this.#clock.nowMs();
    return waitMs > 0 ? waitMs : undefined;
  }
}

/** Events by subject, in order. Events without a subject have no order among them. */
function bySubject(events: readonly AuditEvent[]): AuditEvent[][] {
  return [...Map.groupBy(events, ({ id, subjectId }) => (subjectId === "" ? id : subjectId)).values()];
}

function dropBody(answer: IncomingMessage): void {
  let bytes = 0;
  answer.on("error", () => {});
  answer.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > MAX_ANSWER_BYTES) answer.destroy();
  });
}

function reasonOf(error: Error): string {
  if (error.name === "AbortError" || error.name === "TimeoutError") return "no answer in time";
  return codedCause(error)?.code ?? error.name;
}
