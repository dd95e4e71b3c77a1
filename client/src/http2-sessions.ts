import type { ClientHttp2Session } from "node:http2";
import { Http2SessionManager } from "@connectrpc/connect-node";
import type { ClientCertificate } from "./options.ts";

/**
 * Connections to the service. Node tells of a broken session when its socket has closed, which is later than the end of
 * its calls. connect-node no longer listens by then if `abort` came in between, and the error would end the process.
 * For transports of your own, as `sessionManager`.
 */
export class Http2Sessions extends Http2SessionManager {
  readonly #heard = new WeakSet<ClientHttp2Session>();

  override async request(...args: Parameters<Http2SessionManager["request"]>) {
    const stream = await super.request(...args);
    const { session } = stream;
    if (session !== undefined && !this.#heard.has(session as ClientHttp2Session)) {
      this.#heard.add(session as ClientHttp2Session);
      session.on("error", () => {});
    }
    return stream;
  }
}

/** The TLS options of connections. Node reads them at each connect, so that a renewed certificate is shown then. */
export function tlsOptions(clientCertificate: (() => ClientCertificate) | undefined) {
  if (clientCertificate === undefined) return undefined;
  return {
    get cert() {
      return clientCertificate().cert;
    },
    get key() {
      return clientCertificate().key;
    },
  };
}
