import type { Socket } from "node:net";

/** The protocol of a connection, by its first bytes. */
export type Protocol = "TLS" | "HTTP/2" | "HTTP/1.1";

/** The first three bytes of HTTP/2's preface `PRI * HTTP/2.0`. No method of HTTP/1.1 starts with them. */
const HTTP2_START = "PRI";
/** A TLS record starts with its type, version and length (RFC 8446, 5.1). */
const TLS_HANDSHAKE = 0x16;
const TLS_RECORD_HEAD_BYTES = 5;
const MAX_TLS_RECORD_BYTES = 16 * 1024;
/** A handshake message starts with its type and its length in three bytes (RFC 8446, 4). */
const HELLO_HEAD_BYTES = 4;
/** Maximum time until the first bytes of a connection show its protocol. */
const LOOK_MS = 2000;

/**
 * Calls `decide` as soon as the first bytes show the protocol. The bytes stay in the socket for its server. A
 * connection is destroyed if `decide` returns false, because it has no server, or if its first bytes take longer than
 * LOOK_MS.
 */
export function lookAtStart(socket: Socket, decide: (protocol: Protocol) => boolean): void {
  let start: Buffer = Buffer.alloc(0);
  // After a stall of this process, timers run before the bytes that arrived are read. So the socket is read once more
  // before it is destroyed.
  let lastLook: NodeJS.Immediate | undefined;
  const timer = setTimeout(() => {
    lastLook = setImmediate(() => socket.destroy());
  }, LOOK_MS);
  const stop = () => {
    clearTimeout(timer);
    clearImmediate(lastLook);
    socket.off("readable", onReadable);
    socket.off("end", onEnd);
    socket.off("close", stop);
  };
  const onEnd = () => socket.destroy();
  const onReadable = () => {
    const chunk: Buffer | null = socket.read();
    if (chunk === null) return;
    start = start.length === 0 ? chunk : Buffer.concat([start, chunk]);
    if (mayBecomeHttp2(start) || isPartOfHello(start)) return;
    stop();
    // Only once, and after the listener is removed, because unshift makes the socket readable again.
    socket.unshift(start);
    if (!decide(protocolOf(start))) socket.destroy();
  };
  socket.on("readable", onReadable);
  socket.on("end", onEnd);
  socket.on("close", stop);
}

/**
 * Whether the bytes are an incomplete ClientHello. OpenSSL computes the handshake as soon as the ClientHello is
 * complete, so it must be complete before the handshake gets its turn. A client may send it in several records. A
 * malformed ClientHello is left for OpenSSL to refuse.
 */
function isPartOfHello(start: Buffer): boolean {
  if (start[0] !== TLS_HANDSHAKE) return false;
  /** Bytes of the ClientHello in complete records, and the length that its head announces. */
  let came = 0;
  let length = 0;
  for (let at = 0; came < HELLO_HEAD_BYTES + length; ) {
    if (start.length < at + TLS_RECORD_HEAD_BYTES) return true;
    if (start[at] !== TLS_HANDSHAKE) return false;
    const bytes = start.readUInt16BE(at + TLS_RECORD_HEAD_BYTES - 2);
    if (bytes === 0 || bytes > MAX_TLS_RECORD_BYTES) return false;
    const from = at + TLS_RECORD_HEAD_BYTES;
    if (start.length < from + bytes) return true;
    // The head may be spread over records, too.
    for (let n = came; n < Math.min(came + bytes, HELLO_HEAD_BYTES); n++) {
      if (n > 0) length = length * 256 + start[from + n - came]!;
    }
    if (length > MAX_TLS_RECORD_BYTES) return false;
    came += bytes;
    at = from + bytes;
  }
  return false;
}

/** Whether the bytes are too few to tell HTTP/2 from HTTP/1.1 (`PRI` from `POST` or `PUT`). */
function mayBecomeHttp2(start: Buffer): boolean {
  return start.length < HTTP2_START.length && HTTP2_START.startsWith(start.toString("latin1"));
}

function protocolOf(start: Buffer): Protocol {
  if (start[0] === TLS_HANDSHAKE) return "TLS";
  return start.toString("latin1", 0, HTTP2_START.length) === HTTP2_START ? "HTTP/2" : "HTTP/1.1";
}
