import { mutantsOf } from "./tested-mutant.ts";

const STORE = ["test/contract/export-store.test.ts"];
const EXPORTER = ["test/audit/exporter.test.ts"];
const REPEAT = ["test/command/repeat-trail.test.ts"];

/** Faults in the export of the audit trail, and in the repetition of what a restore lost. */
export const EXPORT_MUTANTS = [
  ...mutantsOf("src/postgres/stores/export-store.ts", STORE, [
    {
      name: "growth of a counted event is lost while it is exported",
      search: "where o.id = done.id and o.revision = done.revision",
      replacement: "where o.id = done.id",
      why: "the exported count stays below that of the trail",
    },
    {
      name: "a delayed event is overtaken",
      search: "bool_or(o.attempts > 0 and",
      replacement: "bool_or(o.attempts > 9 and",
      why: "a receiver gets the events of a subject out of order",
    },
    {
      name: "two processes export at once",
      search: "where x.holder = excluded.holder or x.leased_until <=",
      replacement: "where x.holder <> excluded.holder or x.leased_until <=",
      why: "each event is sent by each process, in no order",
    },
  ]),
  ...mutantsOf("src/audit/export/exporter.ts", EXPORTER, [
    {
      name: "a destination has no rest",
      search: "if (restsMs > 0) return",
      replacement: "if (restsMs > 1e9) return",
      why: "a receiver that is down is asked every ten seconds by each batch",
    },
    {
      name: "lost events are not told",
      search: "if (events.length < queued.length) await this.#lose",
      replacement: "if (events.length > queued.length) await this.#lose",
      why: "events that retention deleted are missing without a word",
    },
    {
      name: "one event that fails stops all",
      search: "if (delivered.size === 0) {",
      replacement: "if (failed.size > 0) {",
      why: "a receiver that refuses one event gets no other one",
    },
    {
      name: "eight refused events stop all",
      search: "await this.#delayRefused(queued, delivery);",
      replacement: "await this.#delayRefused([], delivery);",
      why: "a user whose events a receiver refuses ends the export of all others",
    },
  ]),
  ...mutantsOf(
    "src/destinations/webhook.ts",
    ["test/destinations/webhook.test.ts"],
    [
      {
        name: "events after a failed one of their subject",
        search: "refused.add(event.id);\n          break;",
        replacement: "refused.add(event.id);",
        why: "a receiver gets the events of a subject out of order",
      },
    ],
  ),
  ...mutantsOf("cli/src/trail/lost-changes.ts", REPEAT, [
    {
      name: "what the restored database has is repeated",
      search: "trail.filter(({ id }) => !isPresent.has(id))",
      replacement: 'trail.filter(({ id }) => id !== "")',
      why: "changes from before the backup are made again",
    },
    {
      name: "decisions after the restore do not count",
      search: "const change = isPresent.has(event.id) ? undefined :",
      replacement: "if (isPresent.has(event.id)) continue;\n      const change =",
      why: "a key that was enabled on purpose is disabled again",
    },
  ]),
];
