import { readFileSync } from "node:fs";
import { createConnection, isIP, type Socket } from "node:net";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { AbstractConnector, type RedisOptions } from "ioredis";
import { type ReplyBounds, ReplyGuard } from "./reply-guard.ts";

/** Paths of PEM files. */
export interface TlsFiles {
  /** undefined = the authorities that Node.js trusts. */
  readonly ca: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
}

export interface SocketRules {
  /** undefined = plaintext. With TLS the certificate and its name are always verified. */
  readonly tls: TlsFiles | undefined;
  readonly bounds: ReplyBounds;
}

type Place = Pick<RedisOptions, "host" | "port" | "path" | "disconnectTimeout">;

/**
 * Makes every connection to Redis, including those that a cluster's client opens by itself. It uses TLS if that is
 * configured, and puts a guard between the socket and the client's parser. See reply-guard.ts.
 */
export function guardedConnector({ tls, bounds }: SocketRules) {
  return class GuardedConnector extends AbstractConnector {
    readonly #place: Place;

    constructor(options: unknown) {
      const place = options as Place;
      super(place.disconnectTimeout ?? 0);
      this.#place = place;
    }

    /** The client expects a socket that begins to connect in a later tick, and adds its listeners before that. */
    async connect(): Promise<Socket | TLSSocket> {
      this.connecting = true;
      await new Promise((resolve) => process.nextTick(resolve));
      if (!this.connecting) throw new Error("Connection is closed.");
      const socket = tls === undefined ? openPlain(this.#place) : openTls(this.#place, tls);
      socket.once("error", (error) => {
        this.firstError = error;
      });
      guard(socket, new ReplyGuard(bounds));
      this.stream = socket;
      return socket;
    }
  };
}

/**
 * Reads the PEM files. They are read at each connect, so that a replaced certificate is used.
 *
 * @throws Error that names the setting of a file that can't be read
 */
export function readTlsFiles({ ca, cert, key }: TlsFiles): { ca?: Buffer; cert?: Buffer; key?: Buffer } {
  return {
    ...(ca !== undefined && { ca: readPem("LATCHKEY_REDIS_CA_FILE", ca) }),
    ...(cert !== undefined && { cert: readPem("LATCHKEY_REDIS_CERT_FILE", cert) }),
    ...(key !== undefined && { key: readPem("LATCHKEY_REDIS_KEY_FILE", key) }),
  };
}

function readPem(setting: string, file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw Object.assign(new Error(`${setting}: the file can't be read (${code ?? "unknown"})`), { code });
  }
}

function openPlain({ host, port, path }: Place): Socket {
  return path ? createConnection({ path }) : createConnection({ host: host!, port: port! });
}

/**
 * Opens a TLS connection. A server with certificates for several names needs the name in its greeting (SNI); an address
 * must not be sent there.
 */
function openTls({ host, port }: Place, files: TlsFiles): TLSSocket {
  const servername = isIP(host!) === 0 ? { servername: host! } : {};
  return connectTls({ host: host!, port: port!, ...servername, ...readTlsFiles(files) });
}

/**
 * Puts the guard in front of the parser. Every byte that is read goes through `push`, and each command is one `write`.
 */
function guard(socket: Socket, replies: ReplyGuard): void {
  const push = socket.push.bind(socket);
  const write = socket.write.bind(socket) as (...args: unknown[]) => boolean;
  socket.push = (chunk: Uint8Array | null, ...rest) => {
    const fault = chunk === null ? undefined : replies.faultOf(chunk);
    if (fault === undefined) return push(chunk, ...rest);
    socket.destroy(Object.assign(new Error("Redis sent what no command asked for"), { code: fault }));
    return false;
  };
  socket.write = (...args: unknown[]) => {
    replies.expect();
    return write(...args);
  };
}
