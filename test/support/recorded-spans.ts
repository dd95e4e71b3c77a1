/** An SDK in this process, as an operator would load it, that keeps all spans in memory. */
import { randomBytes } from "node:crypto";
import { context, propagation, SpanKind, type TextMapPropagator, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import {
  InMemorySpanExporter,
  type ReadableSpan,
  type Sampler,
  SimpleSpanProcessor,
  TracerProvider,
} from "@opentelemetry/sdk-trace";

/** A trace that a test begins. */
export interface ClientTrace {
  readonly traceId: string;
  readonly spanId: string;
  /** Its headers. */
  readonly headers: Readonly<Record<"traceparent" | "tracestate", string>>;
}

export interface RecordedSpans extends Disposable {
  readonly all: () => readonly ReadableSpan[];
  /** The ended spans of a trace, in the order of their ends. */
  of(trace: Pick<ClientTrace, "traceId">): readonly ReadableSpan[];
  /** The SERVER spans of a trace. */
  serversOf(trace: Pick<ClientTrace, "traceId">): readonly ReadableSpan[];
  /** The names of the CLIENT spans of a trace. */
  childrenOf(trace: ClientTrace): readonly string[];
}

/** Sends the trace of a program in this process, as its own SDK would. The service reads the headers by itself. */
const W3C: TextMapPropagator = {
  inject(active, carrier, setter) {
    const { traceId, spanId } = trace.getSpanContext(active)!;
    setter.set(carrier, "traceparent", `00-${traceId}-${spanId}-01`);
  },
  extract: (active) => active,
  fields: () => ["traceparent"],
};

/** Registers the SDK for services that start from now on, and removes it when disposed. */
export function recordSpans(sampler?: Sampler): RecordedSpans {
  const exporter = new InMemorySpanExporter();
  const spanProcessors = [new SimpleSpanProcessor({ exporter })];
  trace.setGlobalTracerProvider(new TracerProvider({ spanProcessors, ...(sampler && { sampler }) }));
  context.setGlobalContextManager(new AsyncLocalStorageContextManager());
  propagation.setGlobalPropagator(W3C);
  const of = ({ traceId }: Pick<ClientTrace, "traceId">) =>
    exporter.getFinishedSpans().filter((span) => span.spanContext().traceId === traceId);
  return {
    all: () => exporter.getFinishedSpans(),
    of,
    serversOf: (asked) => of(asked).filter(({ kind }) => kind === SpanKind.SERVER),
    childrenOf: (asked) =>
      of(asked)
        .filter(({ kind }) => kind === SpanKind.CLIENT)
        .map(({ name }) => name),
    [Symbol.dispose]() {
      trace.disable();
      context.disable();
      propagation.disable();
    },
  };
}

/** A trace that its client has sampled, or not. */
export function newTrace(isSampled = true): ClientTrace {
  const [traceId, spanId] = [randomBytes(16).toString("hex"), randomBytes(8).toString("hex")];
  const traceparent = `00-${traceId}-${spanId}-0${Number(isSampled)}`;
  return { traceId, spanId, headers: { traceparent, tracestate: "shop=1" } };
}
