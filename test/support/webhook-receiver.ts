/** A receiver of Standard Webhooks on loopback, which can also fail and hang. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { Webhook } from "standardwebhooks";

/** A request whose signature is good. */
export interface ReceivedWebhook {
  readonly id: string;
  readonly signatures: number;
  readonly type: string;
  readonly timestamp: string;
  readonly data: {
    readonly id: string;
    readonly subject_id: string;
    readonly actor_id: string;
    readonly client_ip: string;
    readonly details: Readonly<Record<string, string>>;
  };
}

export interface WebhookReceiver extends AsyncDisposable {
  readonly url: string;
  /** The requests that were answered with 2xx, in order. */
  readonly taken: ReceivedWebhook[];
  /** Number of requests, whatever their answer. */
  requests: number;
  /** Number of requests with a wrong signature. */
  forged: number;
  /** Answers a request. By default it takes the event with 204. */
  answer: (response: ServerResponse, webhook: ReceivedWebhook, request: IncomingMessage) => void;
  /** Ends the connections that hang. */
  endConnections(): void;
}

export const WEBHOOK_SECRET = `whsec_${Buffer.from("a secret of the tests of webhooks").toString("base64")}`;

/** @param secret the one that the receiver knows */
export async function startWebhookReceiver(secret = WEBHOOK_SECRET): Promise<WebhookReceiver> {
  const verifier = new Webhook(secret);
  const server = createServer((request, response) => void receive(request, response));
  async function receive(request: IncomingMessage, response: ServerResponse): Promise<void> {
    receiver.requests++;
    const body = await text(request);
    const headers = request.headers as Record<string, string>;
    try {
      const payload = verifier.verify(body, headers) as Omit<ReceivedWebhook, "id" | "signatures">;
      const signatures = headers["webhook-signature"]!.split(" ").length;
      const webhook = { id: headers["webhook-id"]!, signatures, ...payload };
      receiver.answer(response, webhook, request);
      if (response.writableEnded && response.statusCode < 300) receiver.taken.push(webhook);
    } catch {
      receiver.forged++;
      response.writeHead(401).end();
    }
  }
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const receiver: WebhookReceiver = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/audit?tenant=1`,
    taken: [],
    requests: 0,
    forged: 0,
    answer: (response) => void response.writeHead(204).end(),
    endConnections: () => server.closeAllConnections(),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return receiver;
}
