/** Bounds of the replies of one connection. */
export interface ReplyBounds {
  /** Maximum bytes of one reply. */
  readonly bytes: number;
  /** Maximum entries of all lists of one reply together. */
  readonly entries: number;
}

const LF = 0x0a;
const [STATUS, ERROR, INTEGER, BULK, LIST] = [..."+-:$*"].map((type) => type.charCodeAt(0));
/** A redirection that the client can follow. One of any other form makes the client end the process. */
const REDIRECTION = /^(MOVED|ASK) \d{1,5} (\?|[A-Za-z0-9_.:[\]-]{0,255}):\d{1,5}$/;
const LENGTH = /^(-1|\d{1,10})$/;
const NULL = -1;

/**
 * Checks the bytes from Redis before the client's parser reads them. It ends the connection at a reply above the
 * bounds, at a reply that no command asked for, and at anything that is not RESP2. It is needed because a parser
 * allocates a list as soon as it reads its length: 48 bytes can make it take a gigabyte.
 *
 * The guard reads one header line for each element of a reply, and skips the bytes of bulk strings.
 */
export class ReplyGuard {
  readonly #bounds: ReplyBounds;
  /** Number of commands that were sent and not answered. */
  #expected = 0;
  /**
   * For the reply under way: its bytes and entries so far, and its elements to come; 0 elements = no reply is under
   * way.
   */
  #bytes = 0;
  #entries = 0;
  #pieces = 0;
  /** Bytes to come of a bulk string, including its CR and LF. */
  #bulkBytes = 0;
  /** The part of the header line that has arrived. */
  #line = "";

  constructor(bounds: ReplyBounds) {
    this.#bounds = bounds;
  }

  /** Notes that a command was sent, so that one more reply may come. */
  expect(): void {
    this.#expected++;
  }

  /** The fault of these bytes; undefined = they may be parsed. Don't call it again after a fault. */
  faultOf(chunk: Uint8Array): ReplyFault | undefined {
    let at = 0;
    while (at < chunk.length) {
      if (this.#pieces === 0) {
        if (this.#expected === 0) return "REPLY_UNASKED";
        [this.#pieces, this.#bytes, this.#entries] = [1, 0, 0];
      }
      const end = this.#bulkBytes > 0 ? this.#skipBulk(chunk, at) : this.#readLine(chunk, at);
      if (typeof end !== "number") return end;
      this.#bytes += end - at;
      if (this.#bytes > this.#bounds.bytes) return "REPLY_TOO_LARGE";
      at = end;
      if (this.#pieces === 0) this.#expected--;
    }
    return undefined;
  }

  #skipBulk(chunk: Uint8Array, at: number): number {
    const end = Math.min(chunk.length, at + this.#bulkBytes);
    this.#bulkBytes -= end - at;
    if (this.#bulkBytes === 0) this.#pieces--;
    return end;
  }

  /** Reads a header line, or the part that has arrived. @returns the position after it */
  #readLine(chunk: Uint8Array, at: number): number | ReplyFault {
    const lf = chunk.indexOf(LF, at);
    const end = lf < 0 ? chunk.length : lf + 1;
    if (this.#line === "" && !isType(chunk[at])) return "REPLY_NO_REDIS";
    if (this.#bytes + end - at > this.#bounds.bytes) return "REPLY_TOO_LARGE";
    this.#line += latin1(chunk, at, end);
    if (lf < 0) return end;
    const line = this.#line;
    this.#line = "";
    // The client's parser takes a lone CR as the end of a line, and would read on from there.
    if (line.indexOf("\r") !== line.length - 2) return "REPLY_NO_REDIS";
    return this.#open(line.charCodeAt(0), line.slice(1, -2)) ?? end;
  }

  /** Begins an element. Some elements are a header alone; others have more bytes or elements to come. */
  #open(type: number, rest: string): ReplyFault | undefined {
    if (type === STATUS || type === ERROR || type === INTEGER) {
      const isWrong = type === INTEGER ? !/^[+-]?\d{1,19}$/.test(rest) : type === ERROR && isBadRedirection(rest);
      this.#pieces--;
      return isWrong ? "REPLY_NO_REDIS" : undefined;
    }
    if (!LENGTH.test(rest)) return "REPLY_NO_REDIS";
    const length = Number(rest);
    if (length === NULL) this.#pieces--;
    else if (type === BULK) {
      this.#bulkBytes = length + 2;
      if (this.#bytes + this.#bulkBytes > this.#bounds.bytes) return "REPLY_TOO_LARGE";
    } else {
      this.#entries += length;
      this.#pieces += length - 1;
      if (this.#entries > this.#bounds.entries) return "REPLY_TOO_LARGE";
    }
    return undefined;
  }
}

/** Words for the log, like those of Redis' own errors. */
export type ReplyFault = "REPLY_TOO_LARGE" | "REPLY_UNASKED" | "REPLY_NO_REDIS";

function isType(byte: number | undefined): boolean {
  return byte === STATUS || byte === ERROR || byte === INTEGER || byte === BULK || byte === LIST;
}

function isBadRedirection(error: string): boolean {
  return /^(MOVED|ASK)\b/.test(error) && !REDIRECTION.test(error);
}

function latin1(chunk: Uint8Array, start: number, end: number): string {
  return Buffer.from(chunk.buffer, chunk.byteOffset + start, end - start).toString("latin1");
}
