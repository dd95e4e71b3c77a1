/** A PostgreSQL that writes the plan of each statement that it runs into its log (auto_explain), and a reader of it. */
import { type PostgresServer, startPostgres } from "./own-postgres.ts";

/** A node of a plan, as EXPLAIN (ANALYZE, FORMAT JSON) names its fields. */
export interface PlanNode {
  readonly "Node Type": string;
  readonly "Relation Name"?: string;
  readonly "Index Name"?: string;
  readonly "Index Cond"?: string;
  readonly Filter?: string;
  readonly "Actual Rows"?: number;
  readonly "Actual Loops"?: number;
  readonly "Rows Removed by Filter"?: number;
  readonly "Rows Removed by Index Recheck"?: number;
  readonly Plans?: readonly PlanNode[];
}

/** A statement that PostgreSQL ran, with its plan. */
export interface Explained {
  readonly statement: string;
  readonly plan: PlanNode;
}

/** Starts a PostgreSQL that explains nothing yet. */
export function startExplainedPostgres(): Promise<PostgresServer> {
  return startPostgres({
    settings: {
      shared_preload_libraries: "auto_explain",
      "auto_explain.log_min_duration": "-1",
      "auto_explain.log_analyze": "on",
      "auto_explain.log_timing": "off",
      // Statements of foreign keys, too.
      "auto_explain.log_nested_statements": "on",
      "auto_explain.log_format": "json",
      log_line_prefix: "",
    },
  });
}

/** From now on each statement of a new connection to the database is explained. */
export async function explainFromNowOn(postgres: PostgresServer, database: string): Promise<void> {
  await postgres.sql(`alter database "${database}" set auto_explain.log_min_duration = 0`);
}

const ENTRY = /^LOG: {2}duration: [\d.]+ ms {2}plan:\n((?:\t.*\n)+)/gm;

/** All statements that were explained so far. */
export function explained(postgres: PostgresServer): readonly Explained[] {
  return [...postgres.log().matchAll(ENTRY)].map(([, text]) => {
    const { "Query Text": statement, Plan: plan } = JSON.parse(text!.replace(/^\t/gm, ""));
    return { statement: withoutSettings(statement), plan };
  });
}

/** A statement without the settings of its transaction, which are sent with it. */
function withoutSettings(text: string): string {
  return text.replace(/^set transaction [^;]*;(?: set local [^;]*;)* (?:select pg_catalog[^;]*; )?/, "").trim();
}

/** All nodes of a plan. */
export function nodesOf(plan: PlanNode): readonly PlanNode[] {
  return [plan, ...(plan.Plans ?? []).flatMap(nodesOf)];
}

/** The number of rows that a node took from its table or index, in all its loops. */
export function rowsRead(node: PlanNode): number {
  const each =
    (node["Actual Rows"] ?? 0) + (node["Rows Removed by Filter"] ?? 0) + (node["Rows Removed by Index Recheck"] ?? 0);
  return each * (node["Actual Loops"] ?? 1);
}
