/**
 * Spans of OpenTelemetry: the only file that knows its API. The service has no SDK. An operator loads one before the
 * service, with `node --import` (docs/TRACING.md). Without one, no call has a span, and nothing here costs anything
 * that a benchmark shows.
 *
 * A span never has a message, a statement or a parameter, because their values may be secrets. No caller may pass a
 * text of a client as a name or an attribute.
 */
import {
  type Attributes,
  type Context,
  context,
  createTraceState,
  ProxyTracerProvider,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  type TracerProvider,
  trace,
} from "@opentelemetry/api";
import { codedCause } from "./errors.ts";
import { settleWithin } from "./settle-within.ts";

export type { Attributes };

/** A span's name, and attributes that are known when it begins, for the sampler. */
export interface SpanFacts {
  readonly name: string;
  readonly attributes: Attributes;
}

/** The span of another process that a call continues, by W3C Trace Context. */
export interface RemoteSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly traceFlags: number;
  /** The value of `tracestate`; undefined for none. */
  readonly traceState: string | undefined;
}

const SCOPE = "latchkey";
const FLUSH_MS = 1000;
/** Codes of drivers and systems have this form: an SQLSTATE, ECONNREFUSED, NOSCRIPT. */
const CODE = /^[A-Z0-9_]{1,40}$/;

/** Makes the SERVER spans of calls. */
export class ServerSpans {
  readonly #tracer: Tracer;

  constructor(tracer: Tracer) {
    this.#tracer = tracer;
  }

  /** Begins a span. Without a remote span, it begins a trace of its own. */
  start({ name, attributes }: SpanFacts, remote: RemoteSpan | undefined): ServerSpan {
    const parent = remote === undefined ? ROOT_CONTEXT : contextOf(remote);
    const span = this.#tracer.startSpan(name, { kind: SpanKind.SERVER, attributes }, parent);
    return new ServerSpan(span, trace.setSpan(parent, span));
  }
}

/**
 * The maker of spans, if the process has an SDK; undefined without one. It is asked once, at the start of a service: an
 * SDK that is loaded later is not used.
 */
export function openServerSpans(version: string): ServerSpans | undefined {
  const provider = trace.getTracerProvider();
  // The API's own provider has a tracer only if an SDK was registered. It is another class if the SDK was loaded with
  // a copy of the API of its own.
  const tracer =
    provider instanceof ProxyTracerProvider
      ? provider.getDelegateTracer(SCOPE, version)
      : provider.getTracer(SCOPE, version);
  return tracer && new ServerSpans(tracer);
}

/** Sends the spans that an SDK has not sent yet, for the end of the process. Waits at most FLUSH_MS. Never rejects. */
export async function flushSpans(): Promise<void> {
  const provider: TracerProvider & { getDelegate?(): TracerProvider } = trace.getTracerProvider();
  // A method of every SDK's provider, by OpenTelemetry's specification. The API does not declare it.
  const sdk = (provider.getDelegate?.() ?? provider) as TracerProvider & { forceFlush?(): Promise<void> };
  if (sdk.forceFlush !== undefined) await settleWithin(FLUSH_MS, sdk.forceFlush());
}

/** The span of one call. */
export class ServerSpan {
  /** 32 hexadecimal digits. */
  readonly traceId: string;
  readonly #span: Span;
  readonly #context: Context;

  constructor(span: Span, context: Context) {
    this.traceId = span.spanContext().traceId;
    this.#span = span;
    this.#context = context;
  }

  /** Runs `work`, whose SQL and Redis become children of this span, unless the sampler has dropped the span. */
  run<A extends unknown[], R>(work: (...args: A) => R, ...args: A): R {
    return this.#span.isRecording() ? context.with(this.#context, work, undefined, ...args) : work(...args);
  }

  /** Ends the span. After that, it gets no further children. */
  end(attributes: Attributes, isFault: boolean): void {
    this.#span.setAttributes(attributes);
    if (isFault) this.#span.setStatus({ code: SpanStatusCode.ERROR });
    this.#span.end();
  }
}

/**
 * Runs one request to another server as a CLIENT span below the call that asks. Work that no call asks for has no span.
 * Of several calls that share a request, the first one gets the span.
 *
 * @param factsOf from `what` to the span's facts; called only if there is a span to make
 */
export function traced<T>(factsOf: (what: string) => SpanFacts, what: string, work: () => Promise<T>): Promise<T> {
  const active = context.active();
  // A call that has ended no longer records: timers and probes that it began belong to no call.
  const isWanted = trace.getSpan(active)?.isRecording() ?? false;
  return isWanted ? inClientSpan(active, factsOf(what), work) : work();
}

async function inClientSpan<T>(parent: Context, { name, attributes }: SpanFacts, work: () => Promise<T>): Promise<T> {
  const span = trace.getTracer(SCOPE).startSpan(name, { kind: SpanKind.CLIENT, attributes }, parent);
  try {
    return await work();
  } catch (error) {
    span.setStatus({ code: SpanStatusCode.ERROR });
    span.setAttribute("error.type", errorType(error));
    throw error;
  } finally {
    span.end();
  }
}

/** The trace of the call that is served now, for log lines; undefined outside of a recorded call. */
export function activeTraceId(): string | undefined {
  const span = trace.getSpan(context.active());
  return span?.isRecording() ? span.spanContext().traceId : undefined;
}

function contextOf({ traceState, ...remote }: RemoteSpan): Context {
  const state = traceState === undefined ? undefined : createTraceState(traceState);
  return trace.setSpanContext(ROOT_CONTEXT, { ...remote, isRemote: true, ...(state && { traceState: state }) });
}

/** The code of an error, or the name of its class. Never its message, which may quote values. */
function errorType(error: unknown): string {
  const code = codedCause(error)?.code;
  if (code !== undefined && CODE.test(code)) return code;
  return error instanceof Error ? error.name : "_OTHER";
}
