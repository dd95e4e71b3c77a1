/** docs/METRICS.md: every metric with its labels, how it adds up over workers, and what to look at. */
import { collectDefaultMetrics, Registry } from "prom-client";
import { METRIC_SECTIONS, type MetricDeclaration, WORKERS_ANSWERING } from "../src/rpc/ops/metric-declarations.ts";
import { heading, table } from "./markdown.ts";

const SOURCE = "src/rpc/ops/metric-declarations.ts";

const INTRODUCTION = `\`GET /metrics\` on the second port (\`LATCHKEY_OPS_LISTEN\`, 9464) has these metrics in Prometheus' text format.

- Times are in seconds, sizes in numbers of requests. A histogram \`name\` has the series \`name_bucket\`, \`name_sum\` and
  \`name_count\`.
- Counters begin at 0 when a process starts. Series of a closed set of labels are there from the start; others appear
  with their first value.
- No label has a client's text, a secret or an address in it. The number of a label's values is bounded.
- **Workers**: with \`LATCHKEY_WORKERS\`, one scrape shows all processes of a machine as one. Counters and histograms are
  summed. A gauge is the sum, the largest or the smallest of the processes' values, as its row says. A worker that ended
  still counts with its last counters and histograms, so that none goes back. A worker that hangs counts with its last
  values.
- Over several machines, sum counters and histograms, and treat gauges as their rows say.

When you are paged, look first at \`latchkey_database_away\` and \`latchkey_limits_degraded\`, then at the codes of
\`latchkey_calls_total\`, then at \`latchkey_shed_calls_total\`.`;

const SHED_REASONS: Readonly<Record<string, string>> = {
  calls: "8,000 calls were in flight (10,000 with verifications). The caller with the most calls gives way",
  streams: "800 streams of WatchRevocations, Health/Watch and reflection were open",
  message_bytes: "64 MiB of incomplete messages were held. A call with an incomplete message gives way",
  turns: "8,000 requests of the lanes beside unary gRPC waited for a turn of the event loop",
  connections: "16,384 connections were open, or too many of them waited to begin",
  unread_answers: "a client did not read its answers; its connection or stream was cut",
  password_hashes: "a login waited for a hash for half a second, or 32 calls waited",
  database_turns: "a management call waited 5 s for PostgreSQL, or 100 calls of its caller waited",
};

/** @throws Error that names the reasons of `latchkey_shed_calls_total` without an explanation, or the other way round */
export async function metricsPage(): Promise<string> {
  const sections = Object.entries(METRIC_SECTIONS).map(([title, rows]) => section(title, rows));
  const parts = [heading("Metrics", SOURCE), INTRODUCTION, ...sections, sheds(), workers(), await ofNode()];
  return `${parts.join("\n\n")}\n`;
}

function section(title: string, rows: Readonly<Record<string, MetricDeclaration>>): string {
  const lines = Object.entries(rows).map(([name, row]) => [
    `\`${name}\``,
    row.type,
    labelsOf(row),
    row.type === "gauge" ? (row.workers ?? "sum") : "sum",
    row.help,
    row.look,
  ]);
  return `## ${title}\n\n${table(["metric", "type", "labels", "workers", "meaning", "what to look at"], lines)}`;
}

function labelsOf({ labels = {} }: MetricDeclaration): string {
  const texts = Object.entries(labels).map(([name, values]) => {
    const text = typeof values === "string" ? values : values.map((value) => `\`${value}\``).join(", ");
    return `**${name}**: ${text}`;
  });
  return texts.length === 0 ? "–" : texts.join("; ");
}

function sheds(): string {
  const { reason } = METRIC_SECTIONS.Calls.latchkey_shed_calls_total.labels;
  const unexplained = reason.filter((each) => !(each in SHED_REASONS));
  const unknown = Object.keys(SHED_REASONS).filter((each) => !reason.some((known) => known === each));
  if (unexplained.length + unknown.length > 0) throw new Error(`explain ${unexplained}; remove ${unknown}`);
  const rows = reason.map((each) => [`\`${each}\``, SHED_REASONS[each]!]);
  return `## Reasons of latchkey_shed_calls_total\n\n${table(["reason", "what there was too much of, in one process"], rows)}`;
}

function workers(): string {
  const { name, help, look } = WORKERS_ANSWERING;
  return `## With workers alone\n\n${table(["metric", "type", "meaning", "what to look at"], [[`\`${name}\``, "gauge", help, look]])}`;
}

/** The metrics that prom-client adds and an operator needs, with what to look at. */
const OF_NODE: Readonly<Record<string, string>> = {
  process_start_time_seconds: "Restarts. Absent with workers.",
  process_cpu_seconds_total: "One process can use little more than one core, and password hashes further ones.",
  process_resident_memory_bytes: "Some 400 MB at 5,000 calls a second, and 1 GB more for a million keys in memory.",
  nodejs_heap_size_used_bytes: "A rise over days.",
  nodejs_external_memory_bytes: "Messages and answers that are held.",
  nodejs_eventloop_lag_mean_seconds: "Above 20 ms for long: add processes.",
  nodejs_eventloop_lag_p99_seconds: "What each call waits for. Above 50 ms for long: add processes.",
  nodejs_gc_duration_seconds: "What calls wait for too. Start Node with `--max-semi-space-size=8`.",
  nodejs_version_info: "The version of Node.",
};

/** @throws Error that names a metric of the table above that prom-client does not add */
async function ofNode(): Promise<string> {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const added = await registry.getMetricsAsJSON();
  registry.clear();
  const rows = Object.entries(OF_NODE).map(([name, look]) => {
    const metric = added.find((each) => each.name === name);
    if (metric === undefined) throw new Error(`prom-client adds no ${name}`);
    return [`\`${name}\``, `${metric.type}`, `${metric.aggregator}`, metric.help, look];
  });
  const head = ["metric", "type", "workers", "meaning", "what to look at"];
  return `## Node and the process\n\nprom-client adds these, and more of the same kind.\n\n${table(head, rows)}`;
}
