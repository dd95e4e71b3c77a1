import { MessageReader, tagOf } from "./message-reader.ts";

/*
 * The fields of envoy.service.auth.v3.CheckRequest that a check needs. They are read straight from the bytes: a message
 * of protobuf-es takes longer than the verdict, and refuses a path that is no UTF-8. Then Envoy would have no answer,
 * and a client could pass where Envoy has `failure_mode_allow`.
 */
const ATTRIBUTES = tagOf(1);
const SOURCE = tagOf(1);
const REQUEST = tagOf(4);
const CONTEXT_EXTENSIONS = tagOf(10);
const PEER_ADDRESS = tagOf(1);
const SOCKET_ADDRESS = tagOf(1);
const ADDRESS_TEXT = tagOf(2);
const HTTP = tagOf(2);
const METHOD = tagOf(2);
const HEADERS = tagOf(3);
const PATH = tagOf(4);
const HEADER_MAP = tagOf(13);
const HEADER_OF_MAP = tagOf(1);
const KEY = tagOf(1);
const VALUE = tagOf(2);
const RAW_VALUE = tagOf(3);

/** Numbers kept for each header: where its name and its value begin and end. */
const SPAN = 4;

/** The request that Envoy asks about. Its headers stay bytes until they are asked for, because most never are. */
export class CheckedRequest {
  /** The HTTP method; empty if the message has none. */
  verb = "";
  /** With the query, as it came: one character for each byte. */
  path = "";
  /** The address of the TCP peer, or of PROXY protocol; empty if it has none. */
  peerAddress = "";
  /** The context_extensions of the route: the text of an operator, not of the client. */
  readonly extensions: [name: string, value: string][] = [];
  readonly #bytes: Buffer;
  readonly #spans: number[] = [];

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  addHeader(nameStart: number, nameEnd: number, valueStart: number, valueEnd: number): void {
    this.#spans.push(nameStart, nameEnd, valueStart, valueEnd);
  }

  /** All values of a header, in order, one character for each byte. @param name in lower case; any case is found */
  values(name: string): string[] {
    const spans = this.#spans;
    const found: string[] = [];
    for (let at = 0; at < spans.length; at += SPAN) {
      const start = spans[at]!;
      if (spans[at + 1]! - start !== name.length || !this.#begins(start, name, HYPHEN)) continue;
      found.push(this.#bytes.toString("latin1", spans[at + 2]!, spans[at + 3]!));
    }
    return found;
  }

  /** The names that begin with a prefix, with `_` taken for `-`. In lower case, in order. @param prefix in lower case */
  namesWith(prefix: string): string[] {
    const spans = this.#spans;
    const found: string[] = [];
    for (let at = 0; at < spans.length; at += SPAN) {
      const [start, end] = [spans[at]!, spans[at + 1]!];
      if (end - start < prefix.length || !this.#begins(start, prefix, UNDERSCORE)) continue;
      found.push(this.#bytes.toString("latin1", start, end).toLowerCase());
    }
    return found;
  }

  /** @param hyphen a byte that counts as `-`, too */
  #begins(start: number, text: string, hyphen: number): boolean {
    for (let at = 0; at < text.length; at++) {
      const byte = this.#bytes[start + at]!;
      const lower = byte >= UPPER_A && byte <= UPPER_Z ? byte + TO_LOWER : byte === hyphen ? HYPHEN : byte;
      if (lower !== text.charCodeAt(at)) return false;
    }
    return true;
  }
}

const HYPHEN = 0x2d;
const UNDERSCORE = 0x5f;
const UPPER_A = 0x41;
const UPPER_Z = 0x5a;
const TO_LOWER = 0x20;

/** Reads a CheckRequest. Fields that a check does not need are skipped. @throws {Error} for bytes that are no protobuf */
export function readCheckRequest(bytes: Uint8Array): CheckedRequest {
  const reader = new MessageReader(bytes);
  const request = new CheckedRequest(reader.bytes);
  eachField(reader, reader.bytes.length, request, (tag, end) => {
    if (tag !== ATTRIBUTES) return false;
    eachField(reader, end, request, readAttribute);
    return true;
  });
  return request;
}

/** Reads a length-delimited field. @returns false for a field that is to be skipped */
type ReadField = (tag: number, end: number, reader: MessageReader, into: CheckedRequest) => boolean;

/** Reads the fields of the message that ends there. */
function eachField(reader: MessageReader, end: number, into: CheckedRequest, read: ReadField): void {
  while (reader.at < end) {
    const tag = reader.tag();
    if ((tag & 7) !== 2) {
      reader.skip(tag, end);
      continue;
    }
    const fieldEnd = reader.enter(end);
    if (!read(tag, fieldEnd, reader, into)) reader.at = fieldEnd;
  }
  reader.leave(end);
}

const readAttribute: ReadField = (tag, end, reader, into) => {
  if (tag === SOURCE) eachField(reader, end, into, readSource);
  else if (tag === REQUEST) eachField(reader, end, into, readRequest);
  else if (tag === CONTEXT_EXTENSIONS) into.extensions.push(readEntry(reader, end));
  else return false;
  return true;
};

const readSource: ReadField = (tag, end, reader, into) => {
  if (tag !== PEER_ADDRESS) return false;
  eachField(reader, end, into, readAddress);
  return true;
};

const readAddress: ReadField = (tag, end, reader, into) => {
  if (tag !== SOCKET_ADDRESS) return false;
  eachField(reader, end, into, readSocketAddress);
  return true;
};

const readSocketAddress: ReadField = (tag, end, reader, into) => {
  if (tag !== ADDRESS_TEXT) return false;
  into.peerAddress = reader.latin1(end);
  return true;
};

const readRequest: ReadField = (tag, end, reader, into) => {
  if (tag !== HTTP) return false;
  eachField(reader, end, into, readHttp);
  return true;
};

const readHttp: ReadField = (tag, end, reader, into) => {
  if (tag === HEADERS) readHeader(reader, end, into);
  else if (tag === METHOD) into.verb = reader.latin1(end);
  else if (tag === PATH) into.path = reader.latin1(end);
  else if (tag === HEADER_MAP) eachField(reader, end, into, readHeaderOfMap);
  else return false;
  return true;
};

const readHeaderOfMap: ReadField = (tag, end, reader, into) => {
  if (tag !== HEADER_OF_MAP) return false;
  readHeader(reader, end, into);
  return true;
};

/** A header: an entry of `headers`, or of `header_map`, where Envoy writes the value into `raw_value`. */
function readHeader(reader: MessageReader, end: number, into: CheckedRequest): void {
  let [nameStart, nameEnd, valueStart, valueEnd] = [end, end, end, end];
  while (reader.at < end) {
    const tag = reader.tag();
    if (tag !== KEY && tag !== VALUE && tag !== RAW_VALUE) {
      reader.skip(tag, end);
      continue;
    }
    const fieldEnd = reader.enter(end);
    if (tag === KEY) [nameStart, nameEnd] = [reader.at, fieldEnd];
    else if (fieldEnd > reader.at) [valueStart, valueEnd] = [reader.at, fieldEnd];
    reader.at = fieldEnd;
  }
  reader.leave(end);
  into.addHeader(nameStart, nameEnd, valueStart, valueEnd);
}

function readEntry(reader: MessageReader, end: number): [string, string] {
  const entry: [string, string] = ["", ""];
  while (reader.at < end) {
    const tag = reader.tag();
    if (tag === KEY) entry[0] = reader.text(reader.enter(end));
    else if (tag === VALUE) entry[1] = reader.text(reader.enter(end));
    else reader.skip(tag, end);
  }
  reader.leave(end);
  return entry;
}
