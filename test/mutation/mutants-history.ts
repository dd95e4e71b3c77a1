import { mutantsOf } from "./tested-mutant.ts";

const HISTORY = ["test/contract/history.test.ts"];

/** Which history answers and cursors belong to. The simulation has mutants of its own. */
export const HISTORY_MUTANTS = [
  ...mutantsOf("src/postgres/history/incarnation.ts", HISTORY, [
    {
      name: "the row of a copied database is read",
      search: "path = pg_relation_filepath(tableoid) and server_start",
      replacement: "server_start",
      why: "reads of one database are believed to be of another, and its clients' cursors too",
    },
    {
      name: "the row of another start is read",
      search: " and server_start = pg_postmaster_start_time()",
      replacement: "",
      why: "an old disk that was put back, or a dump, goes on in a history that is not its own",
    },
    {
      name: "changes of another cluster not looked for",
      search: "(select xact_id from changes where ${FOREIGN} order by xact_id limit 1) is not null",
      replacement: "false",
      why: "each poll brings all that was restored",
    },
    {
      name: "the horizon of another cluster not looked for",
      search: "where pruned >= pg_snapshot_xmax($now))",
      replacement: "where false)",
      why: "each poll is a resync",
    },
    {
      name: "a horizon of another cluster ends no incarnation",
      search: "if found or not exists",
      replacement: "if not exists",
      why: "that changes were deleted for their age is forgotten, and readers who missed them are not told",
    },
    {
      name: "several incarnations at once",
      search: "  perform from change_horizon for update;\n",
      replacement: "",
      why: "processes follow different histories, and each refuses the other's cursors",
    },
  ]),
  ...mutantsOf("src/postgres/history/followed-history.ts", HISTORY, [
    {
      name: "answers of any history",
      search: "this.#incarnation !== undefined && row.incarnation !== this.#incarnation",
      replacement: "false",
      why: "an abandoned primary is believed",
    },
    {
      name: "the feed not told of another history",
      search: "    this.#onOther();\n",
      replacement: "",
      why: "a feed on an abandoned primary stays there while reads fail",
    },
    {
      name: "one attempt only",
      search: "if (attempt === connections || !isOtherHistory(error)) throw error;",
      replacement: "throw error;",
      why: "after a failover a call fails for each connection to the old primary",
    },
    {
      name: "what was committed is done again",
      search: 'is unknown", HISTORY_CHANGED);',
      replacement: 'is unknown", OTHER_HISTORY);',
      why: "a transaction is tried again after its COMMIT",
    },
  ]),
  ...mutantsOf("src/postgres/transactions/transaction.ts", HISTORY, [
    {
      name: "transactions of any history",
      search: "  beginning.history.prove([proof!]);\n",
      replacement: "",
      why: "a revocation is written to an abandoned primary and acknowledged",
    },
  ]),
  ...mutantsOf("src/postgres/transactions/statements.ts", HISTORY, [
    {
      name: "acknowledged after the history changed",
      search: "  if (proof !== undefined) history.proveStill(proof);\n",
      replacement: "",
      why: "what the old primary took while the feed left it is acknowledged, and lost",
    },
  ]),
  ...mutantsOf("src/postgres/rows/change-polls.ts", HISTORY, [
    {
      name: "clients' polls of any history",
      search: "  database.history.prove([row]);\n",
      replacement: "",
      why: "a client has a cursor of one history and is then told of the changes of another",
    },
    {
      name: "a poll without an incarnation for a client",
      search:
        "  if (row.incarnation === null) throw unnamedHistory();\n  return toPoll(row);\n}\n\n/** A poll of the feed",
      replacement: "  return toPoll(row);\n}\n\n/** A poll of the feed",
      why: "its cursor belongs to no history, and compares with others of the kind",
    },
  ]),
  ...mutantsOf("src/postgres/connections/pool-connections.ts", HISTORY, [
    {
      name: "connections to an abandoned server stay",
      search: "if (isOutdated) closeAtRelease(client);",
      replacement: "if (isOutdated) void closeAtRelease;",
      why: "each call on them fails for as long as they live",
    },
  ]),
];
