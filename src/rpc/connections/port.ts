/**
 * CONNECTIONS. The sockets of the public port: from the first byte of a TCP connection to the streams and requests that
 * lanes take. This sub-room decides how much is read, parsed and begun in one turn of the event loop. It knows no RPC.
 *
 *   port.ts                one TCP port for h2c, HTTP/1.1 and TLS with ALPN
 *   connection-start.ts    which protocol a connection speaks, by its first bytes
 *   http2-bounds.ts        bounds on what one HTTP/2 client can make the service hold or do
 *   http2-session.ts       one HTTP/2 connection: idle checks, PING, GOAWAY
 *   lingering.ts           connections that clients leave half open while the port drains
 *   read-turns.ts          how much is read of one caller's HTTP/2 connections in a turn
 *   reading.ts             one connection in those turns, and the handle that stops its reads
 *   http1-server.ts        HTTP/1.1, one request at a time for each connection
 *   paced-socket.ts        the socket that gives Node's HTTP/1.1 parser one piece at a time
 *   socket-stream.ts       a stream over a socket
 *   handshake-socket.ts    the socket that bounds what a client sends in its handshake
 *   tls-server.ts          the handshakes, and the client certificates that they bring
 *   served-certificate.ts  the TLS certificate, read again when its files change
 *   client-authorities.ts  the authorities of client certificates, read again when their file changes
 *   watched-files.ts       how both of them are read again
 *   connection-certificate.ts
 *                          the client certificate of one connection, and how it ends
 *   subject-names.ts       the names in it
 */
import type { EventEmitter } from "node:events";
import {
  constants,
  createServer as createHttp2Server,
  Http2ServerRequest,
  Http2ServerResponse,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import { type AddressInfo, createServer as createTcpServer, type Socket, type Server as TcpServer } from "node:net";
import type { Clock } from "../../lib/clock.ts";
import { addressHolder } from "../../shares/holder.ts";
import type { CallHead } from "../call.ts";
import type { ClientCertificates } from "../calls/client-certificates.ts";
import { TurnBudget } from "../calls/turn-budget.ts";
import { headOf, type WireRequest, type WireResponse } from "../lanes/connect-http.ts";
import type { StreamTaker } from "../lanes/unary-http2.ts";
import type { ClientAuthorities } from "./client-authorities.ts";
import { CERTIFICATE, type CertifiedSocket, type ConnectionCertificate } from "./connection-certificate.ts";
import { lookAtStart, type Protocol } from "./connection-start.ts";
import { Http1Server } from "./http1-server.ts";
import { HTTP2_OPTIONS } from "./http2-bounds.ts";
import { Http2Session, LOOK_EVERY_MS } from "./http2-session.ts";
import { endLingering } from "./lingering.ts";
import type { SocketTurns } from "./paced-socket.ts";
import { ReadTurns } from "./read-turns.ts";
import { readHandleOf } from "./reading.ts";
import type { ServedCertificate } from "./served-certificate.ts";
import { Handshakes } from "./tls-server.ts";

export interface PortOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** If it is given, the port speaks TLS. */
  readonly certificate?: ServedCertificate | undefined;
  /** If they are given, clients may show a certificate of theirs. */
  readonly authorities?: ClientAuthorities | undefined;
  /** Gets the client certificate of each connection that has one. */
  readonly clientCertificates?: Pick<ClientCertificates, "set"> | undefined;
  /** By which client certificates end. */
  readonly clock: Pick<Clock, "nowMs">;
  /** Whether connections without TLS are served. Default true. */
  readonly plaintext?: boolean;
  /** The caller of a connection, as its calls have proved it; undefined while it is unknown. */
  callerOf?(connection: object): string | undefined;
  /** Whether a service has called on a connection, so that it may have STREAMS_OF_SERVICES. Default: never. */
  isOfService?(connection: object): boolean;
  /** Called first for each HTTP/2 stream. Must not throw. */
  readonly takeStream?: StreamTaker | undefined;
  /**
   * Waits for the turn of any other request, because each costs up to 1 ms and a client may send a thousand at once.
   * Resolves to false if too many wait; then the request is refused. `whenGone` receives the function that ends the
   * wait of a request whose client has closed the stream, so that it takes no turn.
   */
  mayBegin(head: CallHead, whenGone: (endWait: () => void) => void): Promise<boolean>;
  /** Called for every other request of every protocol. Must answer each, and must not throw. */
  onRequest(request: WireRequest, response: WireResponse): void;
}

const MAX_CONNECTIONS = 16_384;
/** TCP probes an idle connection after this time, so that connections of unreachable peers are closed. */
const KEEP_ALIVE_MS = 30_000;

/**
 * One TCP port that speaks h2c (prior knowledge), HTTP/1.1 and TLS with ALPN for both: the first bytes of a connection
 * show which. All connections lead to one HTTP/1.1 and one HTTP/2 server, which have no ports of their own.
 */
export class Port {
  readonly #options: PortOptions;
  readonly #tcp: TcpServer;
  readonly #http1: Http1Server;
  readonly #http2: ReturnType<typeof createHttp2Server>;
  readonly #handshakes: Handshakes | undefined;
  readonly #sockets = new Set<Socket>();
  /** Connections whose protocol is not known yet. */
  readonly #unknown = new Set<Socket>();
  readonly #sessions = new Map<object, Http2Session>();
  readonly #reads: ReadTurns;
  /** Pieces of HTTP/1.1, and ends of its connections. */
  readonly #pieces = new TurnBudget();
  readonly #ends = new TurnBudget({ maxWaiting: Number.POSITIVE_INFINITY });
  /** Connections of TLS and HTTP/2 that begin. Each may have sent 64 KiB, and its first read takes all of them. */
  readonly #starts = new TurnBudget();
  #looking: NodeJS.Timeout | undefined;
  #draining = false;
  #dropped = 0;

  constructor(options: PortOptions) {
    this.#options = options;
    this.#reads = new ReadTurns({ callerOf: (connection) => options.callerOf?.(connection) });
    const socketTurns: SocketTurns = {
      piece: (address) => this.#pieces.begin(addressHolder(address)),
      end: (address, task) => this.#ends.run(addressHolder(address), task),
    };
    this.#http1 = new Http1Server({ ...options, socketTurns });
    this.#http2 = createHttp2Server(HTTP2_OPTIONS);
    this.#http2.on("session", this.#onSession);
    this.#http2.on("stream", this.#onStream);
    this.#http2.on("sessionError", () => {});
    const [{ certificate }, serve] = [options, this.#serveSecure];
    this.#handshakes = certificate && new Handshakes({ ...options, certificate, serve });
    this.#tcp = createTcpServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS });
    this.#tcp.maxConnections = MAX_CONNECTIONS;
    this.#tcp.on("connection", this.#onConnection);
    this.#tcp.on("drop", () => this.#dropped++);
  }

  /** Number of open connections, and of those since the start that were closed for lack of room. */
  get counts() {
    const refused = this.#dropped + this.#pieces.refused + this.#starts.refused + (this.#handshakes?.refused ?? 0);
    return { open: this.#sockets.size, refused };
  }

  /** Listens, and returns the address. Rejects if it is in use, or if the certificate can't be served. */
  async start(): Promise<string> {
    const { host, port } = this.#options;
    await this.#handshakes?.load();
    await new Promise<void>((resolve, reject) => {
      this.#tcp.once("error", reject);
      this.#tcp.listen(port, host, () => {
        this.#tcp.off("error", reject);
        resolve();
      });
    });
    this.#handshakes?.watch();
    this.#looking = setInterval(() => this.#lookAtSessions(), LOOK_EVERY_MS).unref();
    // Errors of accept() (no file descriptors left) concern one connection, not the process.
    this.#tcp.on("error", () => {});
    const address = this.#tcp.address() as AddressInfo;
    return `${address.family === "IPv6" ? `[${address.address}]` : address.address}:${address.port}`;
  }

  /**
   * Takes no more connections and asks clients to close theirs: GOAWAY on HTTP/2, `connection: close` on HTTP/1.1.
   * Resolves when all are closed, which follows the end of their calls. `cut` closes them immediately.
   */
  drain(): Promise<void> {
    this.#draining = true;
    const closed = new Promise<void>((resolve) => this.#tcp.close(() => resolve()));
    clearInterval(this.#looking);
    const lingering = endLingering(this.#sockets);
    for (const socket of this.#unknown) socket.destroy();
    for (const session of this.#sessions.values()) session.drain();
    this.#http1.drain();
    this.#handshakes?.stop();
    return closed.finally(() => clearInterval(lingering));
  }

  /** Closes every connection immediately. */
  cut(): void {
    for (const session of this.#sessions.values()) session.destroy();
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Counts work that has come on a connection and costs about as much as `weight` short calls. */
  noteWork(connection: object, weight: number): void {
    this.#sessions.get(connection)?.noteWork(weight);
  }

  /** Hands a connection to its server after the handshake. A client without ALPN speaks HTTP/1.1. */
  readonly #serveSecure = (socket: CertifiedSocket, certificate: ConnectionCertificate | undefined): void => {
    if (this.#draining) {
      socket.destroy();
    } else if (socket.alpnProtocol === "h2") {
      if (certificate !== undefined) socket[CERTIFICATE] = certificate;
      this.#startInTurn(socket, (ready) => this.#http2.emit("connection", ready));
    } else {
      const paced = this.#http1.serve(socket);
      if (certificate !== undefined) this.#certify(paced, certificate, () => this.#http1.retire(paced));
    }
  };

  /** Notes the client certificate of a connection, which ends with the certificate. */
  #certify(connection: EventEmitter, certificate: ConnectionCertificate, ask: () => void): void {
    this.#options.clientCertificates?.set(connection, certificate);
    connection.on("close", this.#handshakes!.follow(certificate, ask));
  }

  readonly #onConnection = (socket: Socket): void => {
    this.#sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => {
      this.#sockets.delete(socket);
      this.#unknown.delete(socket);
    });
    this.#unknown.add(socket);
    lookAtStart(socket, (protocol) => {
      this.#unknown.delete(socket);
      return this.#serve(socket, protocol);
    });
  };

  /** Hands a connection to the server of its protocol. @returns false if the port does not speak it */
  #serve(socket: Socket, protocol: Protocol): boolean {
    const isServed = protocol === "TLS" ? this.#handshakes !== undefined : this.#options.plaintext !== false;
    if (!isServed) return false;
    if (protocol === "TLS") this.#startInTurn(socket, (ready) => this.#handshakes!.begin(ready));
    else if (protocol === "HTTP/2") this.#startInTurn(socket, (ready) => this.#http2.emit("connection", ready));
    else this.#http1.serve(socket);
    return true;
  }

  /**
   * Hands a connection to its server in its turn. A handshake costs about 1 ms as soon as the ClientHello is complete,
   * and an HTTP/2 session immediately begins every stream of the bytes that have come.
   */
  #startInTurn(socket: Socket, start: (socket: Socket) => void): void {
    void this.#starts.begin(addressHolder(socket.remoteAddress ?? "")).then((mayBegin) => {
      if (!mayBegin || this.#draining) socket.destroy();
      else if (!socket.destroyed) start(socket);
    });
  }

  readonly #onSession = (session: ServerHttp2Session): void => {
    session.on("error", () => {});
    const reading = this.#reads.open(session, readHandleOf(session.socket), addressOf(session));
    const live = new Http2Session(session, reading);
    this.#sessions.set(session, live);
    session.on("close", () => this.#sessions.delete(session));
    const certificate = (session.socket as CertifiedSocket)[CERTIFICATE];
    if (certificate !== undefined) this.#certify(session, certificate, () => live.drain());
    if (this.#draining) live.drain();
  };

  #lookAtSessions(): void {
    for (const session of this.#sessions.values()) session.look();
  }

  /** Begins every HTTP/2 stream, so that a lane without the compatibility layer can take it first. */
  readonly #onStream = (
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    _flags: number,
    rawHeaders: string[],
  ): void => {
    stream.on("error", ignore);
    const session = stream.session === undefined ? undefined : this.#sessions.get(stream.session);
    if (session === undefined) return; // The connection is closed.
    if (!session.mayHaveManyStreams && this.#options.isOfService?.(stream.session!)) session.allowManyStreams();
    session.begin(() => this.#begin(stream, headers, rawHeaders, session));
  };

  #begin(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, rawHeaders: string[], session: Http2Session): void {
    if (stream.destroyed || this.#options.takeStream?.(stream, headers, rawHeaders)) return;
    session.keepFor(stream);
    void this.#serveInTurn(stream, headers, rawHeaders);
  }

  /** Serves a request in its turn. The same turn pays for node's compatibility layer. */
  async #serveInTurn(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, rawHeaders: string[]): Promise<void> {
    const head = headOf(rawHeaders, stream.session?.socket, stream.session ?? stream);
    const mayBegin = await this.#options.mayBegin(head, (endWait) => stream.once("close", endWait));
    if (stream.destroyed || stream.closed) return;
    // REFUSED_STREAM says that nothing was done, so that clients may send the call again (RFC 9113, 8.7).
    if (!mayBegin) return stream.close(constants.NGHTTP2_REFUSED_STREAM);
    const request = new Http2ServerRequest(stream, headers as never, {}, rawHeaders as never);
    const response = new Http2ServerResponse(stream);
    if (request.headers.expect === "100-continue") response.writeContinue();
    request.on("error", () => {});
    response.on("error", () => {});
    // An empty body has ended before the request object could listen.
    if (stream.readableEnded) request.push(null);
    this.#options.onRequest(request, response);
  }
}

function ignore(): void {}

/** The name of a connection's caller while it is unknown: the widest network of its address. */
function addressOf({ socket }: ServerHttp2Session): string {
  return addressHolder(socket.remoteAddress ?? "")
    .slice(0, 2)
    .join(" ");
}
