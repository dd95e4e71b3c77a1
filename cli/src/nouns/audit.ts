import { type AuditEvent, AuditEventSchema, ListAuditEventsResponseSchema } from "@latchkey/client/contract";
import { count, given, moment as momentFlag, text } from "../flags.ts";
import { type Column, type Head, type Item, jsonOf, listingOf } from "../result.ts";
import type { Style } from "../styles.ts";
import { tailAudit } from "../tail-audit.ts";
import { clockText, relative } from "../times.ts";
import { type Noun, verb } from "../verb.ts";
import { repeat } from "./repeat-trail.ts";

/** The flags that both verbs take. */
const FILTERS = {
  subject: text("ID", "only events about this subject"),
  actor: text("ID", "only events of this actor"),
};

const list = verb({
  name: "list",
  about: "List the audit trail, newest first",
  more: "On a narrow terminal, columns are left out; --json has everything.",
  examples: [
    "audit list --since 24h",
    "audit list --subject key_AbCd1234AbCd1234 --since 2026-11-01 --until 2026-12-01 --jsonl",
  ],
  flags: {
    ...FILTERS,
    since: momentFlag("only events from this time on: 24h is 24 hours ago", -1),
    until: momentFlag("only events before this time", -1),
    limit: count("the greatest number of events", 1),
  },
  run: async ({ admin, call, nowMs }, { flags }) => {
    const { subject: subjectId = "", actor: actorId = "", since, until, limit } = flags;
    const filter = { subjectId, actorId, ...given({ startTime: since, endTime: until }) };
    return listingOf({
      schema: ListAuditEventsResponseSchema,
      field: "events",
      page: (pageToken, pageSize) => admin.listAuditEvents({ pageToken, pageSize, ...filter }, call),
      limit,
      columns: columns(nowMs),
      quiet: (event: AuditEvent) => event.id,
      none: "there are no such events",
    });
  },
});

const tail = verb({
  name: "tail",
  about: "Show the last 10 events, and then each event as it comes, until ctrl-c",
  more:
    "Times are UTC. An event that counts attempts is shown once. If the service becomes unreachable, it goes on later " +
    "from the same place.",
  examples: ["audit tail", "audit tail --actor usr_AbCd1234AbCd1234 --since 1h --jsonl"],
  flags: { ...FILTERS, since: momentFlag("begin with the events since then: 1h is 1 hour ago", -1) },
  async run(invocation, { flags: { subject: subjectId = "", actor: actorId = "", since } }) {
    const isTerminal = invocation.io.stdout.isTTY === true;
    async function* items(): AsyncGenerator<Item> {
      for await (const event of tailAudit(invocation, { subjectId, actorId }, since)) {
        const cells = HEAD.map(({ cell }) => cell(event));
        const time = clockText(event.eventTime, isTerminal);
        yield { json: jsonOf(AuditEventSchema, event), quiet: event.id, cells: [time, ...cells] };
      }
    }
    return { kind: "stream", head: [TIME, ...HEAD], items: items() };
  },
});

/** The audit trail. */
export const audit: Noun = { name: "audit", about: "The audit trail: who did what", verbs: [list, tail, repeat] };

/** Ids of people, keys and credentials have this width, and those of signing keys are wider. */
const ID_WIDTH = 20;
const TIME: Head = { name: "TIME", role: "id" };
/** The columns besides the time. */
const HEAD: readonly Column<AuditEvent>[] = [
  { name: "WHAT", role: "id", cell: ({ kind }) => ({ text: kind, style: styleOf(kind) }) },
  { name: "SUBJECT", role: "text", least: ID_WIDTH, cell: ({ subjectId }) => subjectId || "-" },
  { name: "ACTOR", role: "extra", cell: ({ actorId }) => actorId || "-" },
  { name: "FROM", role: "extra", cell: ({ clientIp }) => clientIp || "-" },
  { name: "DETAILS", role: "extra", least: ID_WIDTH, cell: ({ details }) => pairsText(details) },
];

function columns(nowMs: number): readonly Column<AuditEvent>[] {
  return [{ ...TIME, cell: ({ eventTime }) => relative(nowMs, eventTime) }, ...HEAD];
}

/** Kinds are `<what>.<happened>`. A kind that this command does not know has no colour of its own. */
function styleOf(kind: string): Style {
  if (/\.(refused|failed|throttled|token_reused)$/.test(kind)) return "bad";
  return /\.(revoked|disabled|deleted|ended)$/.test(kind) ? "paused" : "good";
}

function pairsText(details: Readonly<Record<string, string>>): string {
  return Object.entries(details)
    .map(([name, value]) => `${name}=${value}`)
    .join(" ");
}
