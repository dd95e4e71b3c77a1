import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { EXIT } from "../exit-codes.ts";
import { Fault, usage } from "../faults.ts";
import { list, moment, required, yes } from "../flags.ts";
import type { Invocation } from "../invocation.ts";
import type { Cell } from "../result.ts";
import { msOf } from "../times.ts";
import { type LostChange, lostChanges } from "../trail/lost-changes.ts";
import { type Outcome, Repetition } from "../trail/repeated-change.ts";
import { type BadLine, readTrail, type TrailEvent } from "../trail/trail-file.ts";
import { verb } from "../verb.ts";

const PAGE_SIZE = 250;
/**
 * An event has the time of its statement, and its transaction may commit later: so an event from before the backup may
 * be lost too. The service ends transactions sooner than this.
 */
const OVERLAP_MS = 60_000;
/** Maximum bad lines that are shown; all are counted. */
const MOST_SHOWN = 20;

interface Repeated extends LostChange {
  readonly outcome: Outcome;
}

/** After a restore: what the exported trail of the lost database has, and the restored one lacks. */
export const repeat = verb({
  name: "repeat",
  about: "After a restore, list the revocations of an exported trail that the database lacks",
  more:
    "With --apply it also repeats them: it revokes, deletes and disables keys, disables people, ends sessions, and " +
    "revokes credentials and signing keys. What a person has to decide is listed. Exit code 0 means that nothing is left.",
  examples: [
    "audit repeat --trail audit.jsonl --since 2026-11-28T02:00:00Z",
    "audit repeat --trail audit.jsonl.1 --trail audit.jsonl --since 36h --apply --yes",
  ],
  flags: {
    trail: required(list("FILE", "exported audit events, one a line; several files are read as one")),
    since: required(moment("when the backup began, or a little earlier: 36h is 36 hours ago", -1)),
    apply: yes("repeat what can be repeated"),
  },
  question: ({ flags: { apply } }) => (apply ? "Repeat the revocations that this database lacks?" : undefined),
  async run(invocation, { flags: { trail, since, apply = false } }) {
    const sinceMs = Math.max(0, msOf(since) - OVERLAP_MS);
    const { events, badLines } = await eventsOf(trail, sinceMs, invocation);
    const changes = lostChanges(events, await presentSince(invocation, sinceMs));
    const repetition = new Repetition(invocation, apply);
    const repeated: Repeated[] = [];
    for (const change of changes) {
      invocation.progress.tell(`${repeated.length} of ${changes.length} lost changes`);
      repeated.push({ ...change, outcome: await repetition.repeat(change) });
    }
    const left = repeated.filter(({ outcome }) => isLeft(outcome));
    const isOver = left.length === 0 && badLines.length === 0;
    return {
      kind: "answer",
      json: { changes: repeated.map(jsonOf), badLines: badLines.map((each) => ({ ...each })) },
      quiet: left.map(({ subjectId }) => subjectId).join("\n") || undefined,
      title: titleOf(events.length, repeated, left.length, badLines.length),
      tables: [...(repeated.length > 0 ? [{ head: HEAD, rows: repeated.map(cellsOf) }] : []), ...badTable(badLines)],
      exitCode: isOver ? EXIT.OK : EXIT.FAILED,
    };
  },
});

const HEAD = [
  { name: "SUBJECT", role: "id" },
  { name: "WAS", role: "id" },
  { name: "AT", role: "extra" },
  { name: "TO DO", role: "id" },
  { name: "NOW", role: "id" },
  { name: "NOTE", role: "text" },
] as const;

function isLeft(outcome: Outcome): boolean {
  return outcome === "open" || outcome === "decide" || outcome.startsWith("refused: ");
}

/** The events since then. @throws Fault if a file can't be read */
async function eventsOf(
  files: readonly string[],
  sinceMs: number,
  { progress }: Invocation,
): Promise<{ readonly events: readonly TrailEvent[]; readonly badLines: readonly BadLine[] }> {
  if (files.length === 0) throw usage("--trail must name a file");
  const events = new Map<string, TrailEvent>();
  const badLines: BadLine[] = [];
  for (const [n, file] of files.entries()) {
    try {
      for await (const read of readTrail(file)) {
        if ("why" in read) badLines.push(read);
        else if (read.timeMs >= sinceMs) events.set(read.id, read);
        progress.tell(`${events.size} events read`);
      }
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? "unknown";
      throw new Fault(EXIT.USAGE, `file ${n + 1} of --trail can't be read (${code})`);
    }
  }
  return { events: [...events.values()], badLines };
}

/** The events of the restored database since then. */
async function presentSince({ admin, call, progress }: Invocation, sinceMs: number): Promise<TrailEvent[]> {
  const startTime = timestampFromMs(sinceMs);
  const present: TrailEvent[] = [];
  let pageToken = "";
  do {
    const page = await admin.listAuditEvents({ startTime, pageSize: PAGE_SIZE, pageToken }, call);
    for (const { id, kind, eventTime, actorId, subjectId, details } of page.events) {
      present.push({ id, kind, timeMs: eventTime === undefined ? 0 : msOf(eventTime), actorId, subjectId, details });
    }
    progress.tell(`${present.length} events of the restored database`);
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  return present;
}

function titleOf(events: number, repeated: readonly Repeated[], left: number, bad: number): string {
  const badText = bad === 0 ? "" : `; ${bad} lines are no events`;
  return `${events} events, ${repeated.length} lost changes, ${left} left to do${badText}`;
}

function jsonOf({ subjectId, event, todo, note, outcome }: Repeated) {
  const eventTime = new Date(event.timeMs).toISOString();
  return { subjectId, kind: event.kind, eventId: event.id, eventTime, todo, outcome, note };
}

function cellsOf({ subjectId, event, todo, note, outcome }: Repeated): Cell[] {
  const isFine = outcome === "done" || outcome === "was so" || outcome === "unknown here";
  const time = `${new Date(event.timeMs).toISOString().slice(0, 19)}Z`;
  const now: Cell = { text: outcome, style: isFine ? "good" : "bad" };
  return [subjectId, event.kind, time, todo, now, isFine ? "" : note];
}

function badTable(badLines: readonly BadLine[]) {
  if (badLines.length === 0) return [];
  const head = [
    { name: "FILE", role: "id" },
    { name: "LINE", role: "id" },
    { name: "IS NO EVENT, BECAUSE", role: "text" },
  ] as const;
  return [{ head, rows: badLines.slice(0, MOST_SHOWN).map(({ file, line, why }) => [file, `${line}`, why]) }];
}
