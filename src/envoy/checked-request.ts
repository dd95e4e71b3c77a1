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

/** The request that Envoy asks about. */
export class CheckedRequest {
  /** The HTTP method; empty if the message has none. */
  verb = "";
  /** With the query, as it came: one character for each byte. */
  path = "";
  /** The address of the TCP peer, or of PROXY protocol; empty if it has none. */
  peerAddress = "";
  /** The context_extensions of the route: the text of an operator, not of the client. */
  readonly extensions: [name: string, value: string][] = [];
  /** The names of all header fields in lower case, in their order. */
  readonly names: string[] = [];
  readonly #values: string[] = [];

  /** All values of a header, in order. Names in lower case. */
  values(name: string): string[] {
    const found: string[] = [];
    for (let at = this.names.indexOf(name); at >= 0; at = this.names.indexOf(name, at + 1)) {
      found.push(this.#values[at]!);
    }
    return found;
  }

  addHeader(name: string, value: string): void {
    this.names.push(name.toLowerCase());
    this.#values.push(value);
  }
}

/** Reads a CheckRequest. Fields that a check does not need are skipped. @throws {Error} for bytes that are no protobuf */
export function readCheckRequest(bytes: Uint8Array): CheckedRequest {
  const request = new CheckedRequest();
  const reader = new MessageReader(bytes);
  eachField(reader, reader.length, request, (tag, end) => {
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
  let name = "";
  let value = "";
  while (reader.at < end) {
    const tag = reader.tag();
    if (tag === KEY) name = reader.latin1(reader.enter(end));
    else if (tag === VALUE || tag === RAW_VALUE) value = reader.latin1(reader.enter(end)) || value;
    else reader.skip(tag, end);
  }
  reader.leave(end);
  into.addHeader(name, value);
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
