import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { CallHead } from "../call.ts";
import { wireHead } from "../lanes/connect-http.ts";
import { PacedSocket, type SocketTurns } from "./paced-socket.ts";

/** Node enforces the times. A request must be complete, body included, within `requestTimeout`. */
const OPTIONS = {
  maxHeaderSize: 16 * 1024,
  headersTimeout: 10_000,
  requestTimeout: 60_000,
  keepAliveTimeout: 65_000,
  connectionsCheckingInterval: 5000,
};

export interface Http1Handlers {
  /** Turns to read a piece of a connection, and to end one. */
  readonly socketTurns: SocketTurns;
  /** Waits for a request's turn. Resolves to false if too many wait. */
  mayBegin(head: CallHead, whenGone: (endWait: () => void) => void): Promise<boolean>;
  onRequest(request: IncomingMessage, response: ServerResponse): void;
}

/**
 * An HTTP/1.1 server without a port, for connections that the port accepts. It serves one request at a time for each
 * connection. Requests that a client sends in advance (pipelining) wait in its socket, except the few that came in one
 * piece with the request before them.
 */
export class Http1Server {
  readonly #server: Server;
  readonly #handlers: Http1Handlers;
  readonly #responses = new Set<ServerResponse>();
  /** Parsed requests that wait for the request before them, by connection. */
  readonly #early = new WeakMap<PacedSocket, [IncomingMessage, ServerResponse][]>();
  readonly #retired = new WeakSet<PacedSocket>();
  #draining = false;

  constructor(handlers: Http1Handlers) {
    this.#handlers = handlers;
    this.#server = createServer(OPTIONS, (request, response) => this.#take(request, response));
    // Starts node's check of the times in OPTIONS, which otherwise starts with listen().
    this.#server.emit("listening");
  }

  /** @returns the identity of the connection, which its calls have in common */
  serve(socket: Socket): PacedSocket {
    const paced = new PacedSocket(socket, this.#handlers.socketTurns);
    this.#server.emit("connection", paced);
    return paced;
  }

  /** Asks the client to close this connection after its current request, or closes it if there is none. */
  retire(socket: PacedSocket): void {
    this.#retired.add(socket);
    if (!socket.isHeld) socket.end();
  }

  /** Asks clients to close their connections after the next answer, and closes connections without a request. */
  drain(): void {
    this.#draining = true;
    for (const response of this.#responses) if (!response.headersSent) response.setHeader("connection", "close");
    this.#server.close();
    this.#server.closeIdleConnections();
  }

  #take(request: IncomingMessage, response: ServerResponse): void {
    request.on("error", () => {});
    response.on("error", () => {});
    const socket = request.socket as unknown as PacedSocket;
    if (socket.isHeld) {
      const early = this.#early.get(socket) ?? [];
      early.push([request, response]);
      this.#early.set(socket, early);
    } else {
      this.#begin(socket, request, response);
    }
  }

  #begin(socket: PacedSocket, request: IncomingMessage, response: ServerResponse): void {
    socket.hold({ isComplete: () => request.complete });
    this.#responses.add(response);
    if (this.#mustClose(socket)) response.setHeader("connection", "close");
    response.on("close", () => {
      this.#responses.delete(response);
      if (this.#mustClose(socket)) socket.end();
      this.#next(socket);
    });
    void this.#serveInTurn(request, response);
  }

  #mustClose(socket: PacedSocket): boolean {
    return this.#draining || this.#retired.has(socket);
  }

  async #serveInTurn(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const mayBegin = await this.#handlers.mayBegin(wireHead(request), (endWait) => response.once("close", endWait));
    if (response.destroyed) return;
    if (mayBegin) this.#handlers.onRequest(request, response);
    else response.writeHead(503, { "retry-after": "1", connection: "close" }).end();
  }

  /** Begins the next request of a connection, in a later turn. */
  #next(socket: PacedSocket): void {
    const early = this.#early.get(socket)?.shift();
    if (early === undefined) socket.release();
    else if (!socket.destroyed) setImmediate(() => this.#begin(socket, ...early));
  }
}
