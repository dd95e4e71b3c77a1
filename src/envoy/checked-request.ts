import { BinaryReader } from "@bufbuild/protobuf/wire";
import { lengthDelimited, type ReadField, readFields, readMessage, SKIP } from "./message-fields.ts";

/*
 * The fields of envoy.service.auth.v3.CheckRequest that a check needs. They are read straight from the bytes: a message
 * of protobuf-es takes longer than the verdict, and refuses a path that is no UTF-8. Then Envoy would have no answer,
 * and a client could pass where Envoy has `failure_mode_allow`.
 */
const ATTRIBUTES = lengthDelimited(1);
const SOURCE = lengthDelimited(1);
const REQUEST = lengthDelimited(4);
const CONTEXT_EXTENSIONS = lengthDelimited(10);
const PEER_ADDRESS = lengthDelimited(1);
const SOCKET_ADDRESS = lengthDelimited(1);
const ADDRESS_TEXT = lengthDelimited(2);
const HTTP = lengthDelimited(2);
const METHOD = lengthDelimited(2);
const HEADERS = lengthDelimited(3);
const PATH = lengthDelimited(4);
const HEADER_MAP = lengthDelimited(13);
const HEADER_OF_MAP = lengthDelimited(1);
const KEY = lengthDelimited(1);
const VALUE = lengthDelimited(2);
const RAW_VALUE = lengthDelimited(3);

/** Numbers kept for each header: where its name and its value begin and end. */
const SPAN = 4;

/** Where the name and the value of a header begin and end in the message. */
interface HeaderSpans {
  nameStart: number;
  nameEnd: number;
  valueStart: number;
  valueEnd: number;
}

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
  /** The message. */
  readonly bytes: Buffer;
  readonly #spans: number[] = [];

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  addHeader({ nameStart, nameEnd, valueStart, valueEnd }: HeaderSpans): void {
    this.#spans.push(nameStart, nameEnd, valueStart, valueEnd);
  }

  /** All values of a header, in order, one character for each byte. @param name in lower case; any case is found */
  values(name: string): string[] {
    const spans = this.#spans;
    const found: string[] = [];
    for (let at = 0; at < spans.length; at += SPAN) {
      const start = spans[at]!;
      if (spans[at + 1]! - start !== name.length || !this.#begins(start, name, HYPHEN)) continue;
      found.push(this.bytes.toString("latin1", spans[at + 2]!, spans[at + 3]!));
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
      found.push(this.bytes.toString("latin1", start, end).toLowerCase());
    }
    return found;
  }

  /** @param hyphen a byte that counts as `-`, too */
  #begins(start: number, text: string, hyphen: number): boolean {
    for (let at = 0; at < text.length; at++) {
      const byte = this.bytes[start + at]!;
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
  const buffer = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  try {
    return readFields(new BinaryReader(buffer), buffer.length, new CheckedRequest(buffer), readCheck);
  } catch {
    throw new Error("not a protobuf message");
  }
}

const readCheck: ReadField<CheckedRequest> = (tag, reader, into) => {
  if (tag !== ATTRIBUTES) return SKIP;
  readMessage(reader, into, readAttribute);
};

const readAttribute: ReadField<CheckedRequest> = (tag, reader, into) => {
  if (tag === SOURCE) readMessage(reader, into, readSource);
  else if (tag === REQUEST) readMessage(reader, into, readRequest);
  else if (tag === CONTEXT_EXTENSIONS) into.extensions.push(readExtension(reader, into));
  else return SKIP;
};

const readSource: ReadField<CheckedRequest> = (tag, reader, into) => {
  if (tag !== PEER_ADDRESS) return SKIP;
  readMessage(reader, into, readAddress);
};

const readAddress: ReadField<CheckedRequest> = (tag, reader, into) => {
  if (tag !== SOCKET_ADDRESS) return SKIP;
  readMessage(reader, into, readSocketAddress);
};

const readSocketAddress: ReadField<CheckedRequest> = (tag, reader, into) => {
  if (tag !== ADDRESS_TEXT) return SKIP;
  into.peerAddress = textOf(reader, into, "latin1");
};

const readRequest: ReadField<CheckedRequest> = (tag, reader, into) => {
  if (tag !== HTTP) return SKIP;
  readMessage(reader, into, readHttp);
};

const readHttp: ReadField<CheckedRequest> = (tag, reader, into) => {
  if (tag === HEADERS) readHeader(reader, into);
  else if (tag === METHOD) into.verb = textOf(reader, into, "latin1");
  else if (tag === PATH) into.path = textOf(reader, into, "latin1");
  else if (tag === HEADER_MAP) readMessage(reader, into, readHeaderMap);
  else return SKIP;
};

const readHeaderMap: ReadField<CheckedRequest> = (tag, reader, into) => {
  if (tag !== HEADER_OF_MAP) return SKIP;
  readHeader(reader, into);
};

function readHeader(reader: BinaryReader, into: CheckedRequest): void {
  const spans = { nameStart: 0, nameEnd: 0, valueStart: 0, valueEnd: 0 };
  into.addHeader(readMessage(reader, spans, readHeaderField));
}

/** A field of an entry of `headers`, or of `header_map`, where Envoy writes the value into `raw_value`. */
const readHeaderField: ReadField<HeaderSpans> = (tag, reader, into) => {
  if (tag !== KEY && tag !== VALUE && tag !== RAW_VALUE) return SKIP;
  const end = reader.uint32() + reader.pos;
  if (tag === KEY) {
    into.nameStart = reader.pos;
    into.nameEnd = end;
  } else if (end > reader.pos) {
    into.valueStart = reader.pos;
    into.valueEnd = end;
  }
  reader.pos = end;
};

function readExtension(reader: BinaryReader, { bytes }: CheckedRequest): [name: string, value: string] {
  const { name, value } = readMessage(reader, { name: "", value: "", bytes }, readExtensionField);
  return [name, value];
}

const readExtensionField: ReadField<{ name: string; value: string; readonly bytes: Buffer }> = (tag, reader, into) => {
  if (tag === KEY) into.name = textOf(reader, into, "utf8");
  else if (tag === VALUE) into.value = textOf(reader, into, "utf8");
  else return SKIP;
};

/** A text, whatever its bytes: as UTF-8, or one character for each byte. */
function textOf(reader: BinaryReader, { bytes }: { readonly bytes: Buffer }, encoding: "latin1" | "utf8"): string {
  const end = reader.uint32() + reader.pos;
  const text = bytes.toString(encoding, reader.pos, end);
  reader.pos = end;
  return text;
}
