/** What one connection may be sent. */
export interface ReplyBounds {
  /** Of one reply, all of it counted. */
  readonly bytes: number;
  /** Of one reply: entries of all its lists together. */
  readonly entries: number;
}

const LF = 0x0a;
const [STATUS, ERROR, INTEGER, BULK, LIST] = [..."+-:$*"].map((type) => type.charCodeAt(0));
/** A redirection that the client can follow; at one of another form it ends the process. */
const REDIRECTION = /^(MOVED|ASK) \d{1,5} (\?|[A-Za-z0-9_.:[\]-]{0,255}):\d{1,5}$/;
const LENGTH = /^(-1|\d{1,10})$/;
const NULL = -1;

/**
 * Looks at the bytes that Redis sends before the client's parser does, and says when to end the connection: at a reply
 * larger than the bounds, at one that nothing asked for, and at what is no RESP2. A parser makes room for a list as soon
 * as it reads how long it is to be: 48 bytes are enough to make it take a gigabyte.
 *
 * Its work is a header's length for each piece of a reply: bulks are skipped, not read.
 */
export class ReplyGuard {
  readonly #bounds: ReplyBounds;
  /** Commands sent and not answered. */
  #expected = 0;
  /** Of the reply under way: bytes and entries seen, and pieces to come; 0 pieces = no reply is under way. */
  #bytes = 0;
  #entries = 0;
  #pieces = 0;
  /** Of a bulk, CR and LF included: bytes to come. */
  #bulkBytes = 0;
  /** The header line as far as it has come. */
  #line = "";

  constructor(bounds: ReplyBounds) {
    this.#bounds = bounds;
  }

  /** A command was sent: one more reply may come. */
  expect(): void {
    this.#expected++;
  }

  /** What is wrong with these bytes; undefined = they may be parsed. Once something was wrong there is no next time. */
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

  /** Up to the end of a header line, or of what has come of it. */
  #readLine(chunk: Uint8Array, at: number): number | ReplyFault {
    const lf = chunk.indexOf(LF, at);
    const end = lf < 0 ? chunk.length : lf + 1;
    if (this.#line === "" && !isType(chunk[at])) return "REPLY_NO_REDIS";
    if (this.#bytes + end - at > this.#bounds.bytes) return "REPLY_TOO_LARGE";
    this.#line += latin1(chunk, at, end);
    if (lf < 0) return end;
    const line = this.#line;
    this.#line = "";
    // The client's parser takes a lone CR for the end of a line, and would read on from there.
    if (line.indexOf("\r") !== line.length - 2) return "REPLY_NO_REDIS";
    return this.#open(line.charCodeAt(0), line.slice(1, -2)) ?? end;
  }

  /** A piece begins: one that is over with its header, or one that has more to come. */
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

/** Words for the log, as those of Redis' own errors. */
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
