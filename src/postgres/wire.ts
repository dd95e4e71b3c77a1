/**
 * The way of a connection's bytes to the server: a socket, or TCP with TLS as libpq's sslmode means it. node-postgres
 * knows three of the six modes by other meanings, and no second attempt; it is given a connection that is made already.
 *
 *   disable                  plaintext
 *   allow                    plaintext; where the server refuses that, TLS
 *   prefer                   TLS; where the server has none, fails at it or refuses it, plaintext
 *   require, verify-*        TLS, or no connection: nothing but the request for TLS is sent before it
 *
 * A refusal counts only before the server has asked for a credential: a password is never tried again without TLS.
 */
import { Socket } from "node:net";
import { type ConnectionOptions, connect as connectTls } from "node:tls";
import pg from "pg";
import { type DatabaseConnection, isSocket } from "../lib/database-connection.ts";
import { tlsOptions } from "./tls-files.ts";

/** Code of the refusal of a server that has no TLS, where TLS was asked for. */
export const NO_TLS = "ERR_TLS_NOT_OFFERED";

/**
 * How often a connection that is not used is heard of. A balancer or a NAT forgets one that is silent for minutes, and
 * the system's own default is two hours: the next read would go into the void.
 */
const KEEP_ALIVE_MS = 30_000;
/** Length 8 and the code of SSLRequest (PostgreSQL, 55.2.11). */
const TLS_REQUEST = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]);

type Way = "plaintext" | "tls";

/** What node-postgres' connection has, beside what its types say. */
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
  /** What is still to be tried, the next one first. */
  readonly #ways: Way[];
  #tls: ConnectionOptions = {};
  /** The stream that carries the protocol. */
  #started: Socket | undefined;
  /** Whether the server has asked for a credential, or ended the last attempt. */
  #isSettled = false;
  /** From a refusal to the next start: what the first server's stream still brings is not heard. */
  #isBetween = false;
  /** What the server said to the attempt before. */
  #refusal: unknown[] | undefined;

  constructor(connection: DatabaseConnection) {
    super({ ssl: false });
    this.#connection = connection;
    this.#ways = waysOf(connection);
  }

  /** Is called once; events tell how it went, as those of node-postgres' own connection. */
  connect(): void {
    this._connecting = true;
    this.#watch(this.stream);
    // A file that can't be used is told also where plaintext is tried first.
    if (this.#ways.includes("tls")) void this.#readFiles();
    else this.#attempt(this.stream);
  }

  /** Every message of the server passes here. */
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
      // More than one byte would be what somebody on the way put before the handshake (CVE-2021-23222).
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

  /** Where plaintext was refused before (`allow`), that is what is wrong. */
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
      // A handshake that fails refuses TLS. One that was given up for its time (`_ending`) does not.
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
