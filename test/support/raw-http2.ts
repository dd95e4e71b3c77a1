/** An HTTP/2 client that writes any frames at any time, which no library would do. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { until } from "./until.ts";

export const DATA = 0;
export const HEADERS = 1;
export const RST_STREAM = 3;
export const SETTINGS = 4;
export const PING = 6;
export const GOAWAY = 7;
export const WINDOW_UPDATE = 8;
export const CONTINUATION = 9;

export const END_STREAM = 1;
export const END_HEADERS = 4;
const ACK = 1;
const INITIAL_WINDOW_SIZE = 4;

export interface RawHttp2 extends Disposable {
  readonly socket: Socket;
  /** Number of received frames by type. */
  readonly came: ReadonlyMap<number, number>;
  /** The ids of streams on which HEADERS came. */
  readonly answered: ReadonlySet<number>;
  /** The connection's end, from either side. */
  readonly closed: Promise<void>;
  isClosed(): boolean;
  /** Writes, and waits until the kernel has taken the bytes or the connection is closed. */
  send(bytes: Uint8Array): Promise<void>;
}

/** Connects and sends the preface. @param window bytes that the server may send on a stream; 0 = no message at all */
export async function connectRaw(port: number, window = 65_535): Promise<RawHttp2> {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => {});
  const came = new Map<number, number>();
  const answered = new Set<number>();
  let isClosed = false;
  const closed = new Promise<void>((resolve) => {
    socket.on("close", () => {
      isClosed = true;
      resolve();
    });
  });
  await once(socket, "connect");
  let rest: Buffer = Buffer.alloc(0);
  socket.on("data", (piece: Buffer) => {
    rest = Buffer.concat([rest, piece]);
    while (rest.length >= 9 && rest.length >= 9 + rest.readUIntBE(0, 3)) {
      const payload = rest.subarray(9, 9 + rest.readUIntBE(0, 3));
      const [type, flags] = [rest[3]!, rest[4]!];
      came.set(type, (came.get(type) ?? 0) + 1);
      if (type === HEADERS) answered.add(rest.readUInt32BE(5));
      if ((type === SETTINGS || type === PING) && (flags & ACK) === 0 && socket.writable) {
        socket.write(frame(type, ACK, 0, type === PING ? payload : undefined));
      }
      rest = rest.subarray(9 + payload.length);
    }
  });
  const setting = Buffer.alloc(6);
  setting.writeUInt16BE(INITIAL_WINDOW_SIZE, 0);
  setting.writeUInt32BE(window, 2);
  socket.write(Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), frame(SETTINGS, 0, 0, setting)]));
  return {
    socket,
    came,
    answered,
    closed,
    isClosed: () => isClosed,
    send: (bytes) => {
      const written = new Promise<void>((resolve) => socket.write(bytes, () => resolve()));
      return isClosed ? closed : Promise.race([written, closed]);
    },
    [Symbol.dispose]: () => void socket.destroy(),
  };
}

/** The first id of a further stream on a connection of `connectAsService`. */
export const NEXT_ID = 5;

/**
 * Connects as a service, which may have 1,000 streams at once after its first calls. Other clients may have 100.
 *
 * @param credential the value of `authorization`
 */
export async function connectAsService(port: number, credential: string, window?: number): Promise<RawHttp2> {
  const client = await connectRaw(port, window);
  const head = grpcHead("/latchkey.v1.KeyService/VerifyKey", { authorization: credential });
  // The server knows the caller after the first call, and allows more streams at the second one.
  for (let id = 1; id < NEXT_ID; id += 2) {
    await client.send(
      Buffer.concat([frame(HEADERS, END_HEADERS, id, head), frame(DATA, END_STREAM, id, grpcMessage(NOTHING))]),
    );
    await until(() => client.answered.has(id));
  }
  // Its own SETTINGS, the confirmation of ours, and the higher number of streams.
  await until(() => (client.came.get(SETTINGS) ?? 0) >= 3);
  return client;
}

const NOTHING = new Uint8Array();

export function frame(type: number, flags: number, stream: number, payload: Uint8Array = new Uint8Array()): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** A header block without compression. Names and values must have fewer than 127 bytes. */
export function headerBlock(fields: Readonly<Record<string, string>>): Buffer {
  return Buffer.concat(
    Object.entries(fields).flatMap(([name, value]) => [
      Buffer.from([0, name.length]),
      Buffer.from(name),
      Buffer.from([value.length]),
      Buffer.from(value),
    ]),
  );
}

/** The head of a gRPC call. @param path `/latchkey.v1.AuthService/Login` */
export function grpcHead(path: string, more: Readonly<Record<string, string>> = {}): Buffer {
  return headerBlock({
    ":method": "POST",
    ":scheme": "http",
    ":path": path,
    ":authority": "x",
    "content-type": "application/grpc",
    te: "trailers",
    ...more,
  });
}

/** A gRPC message with its prefix, as the content of DATA. */
export function grpcMessage(bytes: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}
