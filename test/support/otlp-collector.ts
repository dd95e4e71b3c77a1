/** A collector of OpenTelemetry that keeps what it receives by OTLP over HTTP. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";

/** A span as it came over the wire. */
export interface ReceivedSpan {
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  /** Of the enum SpanKind: 2 is SERVER, 3 is CLIENT. */
  readonly kind: number;
  readonly attributes: Readonly<Record<string, string>>;
  /** Attributes of the process. */
  readonly resource: Readonly<Record<string, string>>;
  /** Name and version of the part of the program that made the span. */
  readonly scope: string;
}

export interface Collector extends AsyncDisposable {
  /** `http://127.0.0.1:12345` */
  readonly url: string;
  readonly spans: readonly ReceivedSpan[];
  /** All bytes that came. */
  readonly bytes: () => Buffer;
}

/** @param isSilent whether it takes requests and never answers them */
export async function startCollector({ isSilent = false } = {}): Promise<Collector> {
  const spans: ReceivedSpan[] = [];
  const bodies: Buffer[] = [];
  const server = createServer(async (request, response) => {
    const body = await buffer(request);
    if (isSilent) return;
    bodies.push(body);
    if (request.url === "/v1/traces") spans.push(...spansOf(body));
    response.writeHead(200, { "content-type": "application/x-protobuf" }).end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans,
    bytes: () => Buffer.concat(bodies),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Field number -> its values: bytes of messages and texts, or numbers. */
type Fields = ReadonlyMap<number, readonly (Uint8Array | number)[]>;

/** The spans of an ExportTraceServiceRequest (opentelemetry/proto/trace/v1/trace.proto). */
function spansOf(bytes: Uint8Array): ReceivedSpan[] {
  return messages(fieldsOf(bytes), 1).flatMap((resourceSpans) => {
    const [resource] = messages(resourceSpans, 1);
    const process = attributesOf(resource!, 1);
    return messages(resourceSpans, 2).flatMap((scopeSpans) => {
      const [scope] = messages(scopeSpans, 1);
      const scopeName = `${text(scope!, 1)} ${text(scope!, 2)}`;
      return messages(scopeSpans, 2).map((span) => ({
        name: text(span, 5),
        traceId: hex(span, 1),
        spanId: hex(span, 2),
        parentSpanId: hex(span, 4),
        kind: span.get(6)![0] as number,
        attributes: attributesOf(span, 9),
        resource: process,
        scope: scopeName,
      }));
    });
  });
}

/** Attributes whose values are texts. */
function attributesOf(owner: Fields, number: number): Record<string, string> {
  return Object.fromEntries(
    messages(owner, number).map((pair) => [text(pair, 1), text(messages(pair, 2)[0] ?? new Map(), 1)]),
  );
}

function messages(owner: Fields, number: number): Fields[] {
  return (owner.get(number) ?? []).map((bytes) => fieldsOf(bytes as Uint8Array));
}

function text(owner: Fields, number: number): string {
  return Buffer.from((owner.get(number)?.[0] as Uint8Array | undefined) ?? []).toString();
}

function hex(owner: Fields, number: number): string {
  return Buffer.from((owner.get(number)?.[0] as Uint8Array | undefined) ?? []).toString("hex");
}

function fieldsOf(bytes: Uint8Array): Fields {
  const fields = new Map<number, (Uint8Array | number)[]>();
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    const values = fields.get(number) ?? [];
    fields.set(number, values);
    if (type === WireType.LengthDelimited) values.push(reader.bytes());
    else if (type === WireType.Varint) values.push(Number(reader.uint64()));
    else reader.skip(type, number);
  }
  return fields;
}
