/**
 * The transport of a connection's bytes: a Unix socket, or TCP with TLS by libpq's meaning of sslmode. node-postgres
 * gives three of the six modes other meanings, and makes no second attempt. So this file makes the connection, and
 * node-postgres gets it when it is ready.
 *
 *   disable                  plaintext
 *   allow                    plaintext; if the server refuses that, TLS
 *   prefer                   TLS; if the server has none, fails at it or refuses it, plaintext
 *   require, verify-*        TLS, or no connection: only the request for TLS is sent before it
 *
 * A refusal counts only before the server has asked for a credential, so that a password is never sent again without
 * TLS.
 */
import { Socket } from "node:net";
import { type ConnectionOptions, connect as connectTls } from "node:tls";
import pg from "pg";
import { type DatabaseConnection, isSocket } from "../../lib/database-connection.ts";
import { tlsOptions } from "./tls-files.ts";

/** Code of the error for a server without TLS, if sslmode asks for TLS. */
export const NO_TLS = "ERR_TLS_NOT_OFFERED";

/**
 * Interval of TCP keep-alive on an idle connection. A balancer or a NAT forgets a connection without traffic after
 * minutes, and the next read would get no answer. The system's default interval is 2 hours.
 */
const KEEP_ALIVE_MS = 30_000;
/** Length 8 and the code of SSLRequest (PostgreSQL, 55.2.11). */
const TLS_REQUEST = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]);

type Way = "plaintext" | "tls";

/** Members of node-postgres' connection, including those that its types lack. */
interface Connection {
  stream: Socket;
  _connecting: boolean;
  _ending: boolean;
  emit(event: string | symbol, ...args: unknown[]): boolean;
  attachListeners(stream: Socket): void;
}
const NodePostgresConnection = pg.Connection as unknown as new (options: object) => Connection;

export class Wire extends NodePostgresConnection {
  readonly #connection: DatabaseConnection;
  /** The ways that are still to be tried, the next one first. */
  readonly #ways: Way[];
  #tls: ConnectionOptions = {};
  /** The stream that carries the protocol. */
  #started: Socket | undefined;
  /** Whether the server has asked for a credential, or ended the last attempt. */
  #isSettled = false;
  /** True from a refusal to the next start: events of the first stream are ignored. */
  #isBetween = false;
  /** The server's error message for the attempt before. */
  #refusal: unknown[] | undefined;

  constructor(connection: DatabaseConnection) {
    super({ ssl: false });
    this.#connection = connection;
    this.#ways = waysOf(connection);
  }

  /** Is called once; reports its result by the same events as node-postgres' own connection. */
  connect(): void {
    this._connecting = true;
    this.#watch(this.stream);
    // A file that can't be used fails the connection even if plaintext is tried first.
    if (this.#ways.includes("tls")) void this.#readFiles();
    else this.#attempt(this.stream);
  }

  /** Every message of the server passes through here. */
  override emit(event: string | symbol, ...args: unknown[]): boolean {
    if (this.#isSettled) return super.emit(event, ...args);
    if (event === "errorMessage" && !this.#isBetween && this.#tryNext()) {
      this.#refusal = args;
      return true;
    }
    if (this.#isBetween && event !== "error" && event !== "end") return false;
    if (event === "errorMessage" || String(event).startsWith("authentication")) this.#isSettled = true;
    return super.emit(event, ...args);
  }

  async #readFiles(): Promise<void> {
    const first = this.stream;
    try {
      this.#tls = await tlsOptions(this.#connection);
      if (!first.destroyed) this.#attempt(first);
    } catch (error) {
      this.#giveUp(first, error as Error);
    }
  }

  #attempt(socket: Socket): void {
    const way = this.#ways.shift()!;
    this.#open(socket, () => (way === "tls" ? this.#requestTls(socket) : this.#start(socket)));
  }

  /** Tries the other way, if there is one. */
  #tryNext(): boolean {
    if (this.#ways.length === 0 || this._ending) return false;
    const refused = this.stream;
    this.#isBetween = true;
    this.stream = new Socket();
    this.#watch(this.stream);
    this.#attempt(this.stream);
    refused.destroy();
    return true;
  }

  #open(socket: Socket, onConnect: () => void): void {
    const { host, port } = this.#connection;
    socket.setNoDelay(true);
    socket.once("connect", () => {
      socket.setKeepAlive(true, KEEP_ALIVE_MS);
      onConnect();
    });
    if (isSocket(this.#connection)) socket.connect(`${host}/.s.PGSQL.${port}`);
    else socket.connect(port, host);
  }

  #requestTls(socket: Socket): void {
    socket.once("data", (answer: Buffer) => {
      const text = answer.toString("latin1");
      if (text === "S") return this.#handshake(socket);
      if (text === "N" && this.#ways.shift() !== undefined) return this.#start(socket);
      if (text === "N") return this.#giveUpWithoutTls(socket);
      // Bytes after the first may have been injected before the handshake (CVE-2021-23222).
      this.#giveUp(socket, coded("ECONNRESET", "the server did not answer the request for TLS"));
    });
    socket.write(TLS_REQUEST);
  }

  #handshake(socket: Socket): void {
    try {
      const secure = connectTls({ ...this.#tls, socket });
      this.stream = secure;
      this.#watch(secure);
      secure.once("secureConnect", () => this.#start(secure));
    } catch (error) {
      this.#giveUp(socket, error as Error);
    }
  }

  /** The protocol may begin: node-postgres sends its first message. */
  #start(stream: Socket): void {
    this.#isBetween = false;
    this.#started = stream;
    this.attachListeners(stream);
    this.emit("connect");
  }

  #giveUp(socket: Socket, error: Error): void {
    this.#ways.length = 0;
    socket.destroy(error);
  }

  /** Gives up. If plaintext was tried before (`allow`), the error is the refusal of plaintext. */
  #giveUpWithoutTls(socket: Socket): void {
    const { sslMode } = this.#connection;
    if (this.#refusal === undefined) {
      this.#giveUp(socket, coded(NO_TLS, `the server offers no TLS, which sslmode=${sslMode} asks for`));
    } else {
      this.#isSettled = true;
      this.emit("errorMessage", ...this.#refusal);
      socket.destroy();
    }
  }

  #watch(stream: Socket): void {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (stream !== this.stream) return;
      // A failed handshake counts as a refusal of TLS. One that ended by its timeout (`_ending`) does not.
      const isHandshake = "encrypted" in stream && stream !== this.#started;
      if (isHandshake && this.#tryNext()) return;
      if (this._ending && (error.code === "ECONNRESET" || error.code === "EPIPE")) return;
      this.emit("error", error);
    });
    stream.on("close", () => {
      if (stream === this.stream) this.emit("end");
    });
  }
}

function waysOf(connection: DatabaseConnection): Way[] {
  if (isSocket(connection)) return ["plaintext"];
  switch (connection.sslMode) {
    case "disable":
      return ["plaintext"];
    case "allow":
      return ["plaintext", "tls"];
    case "prefer":
      return ["tls", "plaintext"];
    default:
      return ["tls"];
  }
}

function coded(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}
