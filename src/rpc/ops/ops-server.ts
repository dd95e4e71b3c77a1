/**
 * OPERATIONS. The second port, for operators and not for the public: health and metrics over HTTP. It knows nothing of
 * RPCs, except that metrics.ts observes how each call ends.
 *
 *   ops-server.ts           the HTTP server of /healthz and /metrics
 *   metrics.ts              the metrics of this process, in prom-client's registry
 *   metric-declarations.ts  the table of all metrics, which docs/METRICS.md comes from
 *   summed-metrics.ts       the metrics of several processes, added to one set
 */
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Log } from "../../lib/log.ts";

export interface OpsServerDeps {
  readonly log: Log;
  /** Whether the process accepts calls: false before it is ready and while it drains. */
  isServing(): boolean | Promise<boolean>;
  /** The metrics as text in Prometheus' exposition format. */
  metrics(): string | Promise<string>;
}

/** Content type of the text format that Prometheus requests by default. */
const METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/** The HTTP server of the second port: `GET /healthz` and `GET /metrics`. */
export class OpsServer {
  readonly #deps: OpsServerDeps;
  readonly #server: Server;

  constructor(deps: OpsServerDeps) {
    this.#deps = deps;
    this.#server = createServer({ requestTimeout: 5000, headersTimeout: 5000, maxHeaderSize: 8192 });
    this.#server.maxConnections = 64;
    this.#server.on("request", (request, response) => {
      request.resume();
      void this.#answer(request.method ?? "", request.url?.split("?", 1)[0] ?? "", response);
    });
  }

  /** Listens; port 0 selects a free port. Returns the address as `host:port`. */
  async start({ host, port }: { readonly host: string; readonly port: number }): Promise<string> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(port, host, resolve);
    });
    this.#server.on("error", () => {});
    const address = this.#server.address() as AddressInfo;
    return `${address.family === "IPv6" ? `[${address.address}]` : address.address}:${address.port}`;
  }

  /** Closes at once, with all connections, because no caller's work depends on them. */
  async stop(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }

  async #answer(method: string, path: string, response: ServerResponse): Promise<void> {
    if (method !== "GET" && method !== "HEAD") return send(response, 405, "method not allowed\n");
    switch (path) {
      case "/healthz":
        return (await this.#deps.isServing()) ? send(response, 200, "ok\n") : send(response, 503, "not serving\n");
      case "/metrics":
        return this.#answerMetrics(response);
      default:
        return send(response, 404, "not found\n");
    }
  }

  async #answerMetrics(response: ServerResponse): Promise<void> {
    try {
      send(response, 200, await this.#deps.metrics(), METRICS_TYPE);
    } catch (error) {
      this.#deps.log.error("metrics failed", {}, error);
      send(response, 500, "metrics failed\n");
    }
  }
}

function send(response: ServerResponse, status: number, body: string, type = "text/plain; charset=utf-8"): void {
  response.writeHead(status, { "content-type": type, "cache-control": "no-store" });
  response.end(body);
}
