/**
 * Sends latchkey's traces to a collector by OTLP over HTTP. Node loads this file before the service:
 *
 *   NODE_OPTIONS="--import /etc/latchkey/tracing.mjs" npm start
 *
 * docs/TRACING.md explains it. Settings:
 *
 *   OTEL_EXPORTER_OTLP_ENDPOINT   the collector; default http://localhost:4318
 *   OTEL_EXPORTER_OTLP_HEADERS    what the collector wants, such as an authorization
 *   OTEL_TRACES_SAMPLER_ARG       part of the traces that begin here, from 0 to 1; default 0.01
 *   OTEL_SERVICE_NAME             default latchkey
 *   OTEL_RESOURCE_ATTRIBUTES      further attributes of all spans, such as deployment.environment.name=production
 */
import { randomUUID } from "node:crypto";
import { context, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { detectResources, envDetector, resourceFromAttributes } from "@opentelemetry/resources";
import {
  AlwaysOnSampler,
  BatchSpanProcessor,
  ParentBasedSampler,
  SamplingDecision,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from "@opentelemetry/sdk-trace";

/** Maximum traces that a process records in a second: any client may ask for one with each call. */
const MOST_A_SECOND = 100;

const own = resourceFromAttributes({ "service.name": "latchkey", "service.instance.id": randomUUID() });
const part = Number(process.env.OTEL_TRACES_SAMPLER_ARG || 0.01);

trace.setGlobalTracerProvider(
  new TracerProvider({
    resource: own.merge(detectResources({ detectors: [envDetector] })),
    // Keeps at most 2048 spans for a collector that is slow or unreachable, and drops further ones.
    spanProcessors: [new BatchSpanProcessor({ exporter: new OTLPTraceExporter() })],
    // Spans of SQL and Redis follow their call's, so they need no sampler here.
    sampler: new ParentBasedSampler({
      root: atMost(new TraceIdRatioBasedSampler(part)),
      remoteParentSampled: atMost(new AlwaysOnSampler()),
    }),
  }),
);
context.setGlobalContextManager(new AsyncLocalStorageContextManager());

/** A sampler that records at most MOST_A_SECOND of what another one would record. */
function atMost(sampler) {
  let second = 0;
  let count = 0;
  return {
    shouldSample(...call) {
      const result = sampler.shouldSample(...call);
      if (result.decision === SamplingDecision.NOT_RECORD) return result;
      const now = Math.floor(performance.now() / 1000);
      if (now !== second) [second, count] = [now, 0];
      count++;
      return count > MOST_A_SECOND ? { decision: SamplingDecision.NOT_RECORD } : result;
    },
    toString: () => `AtMost{${MOST_A_SECOND}/s,${sampler}}`,
  };
}
