import type { DatabaseKind } from "./database.ts";
import { ofRun } from "./shared-servers.ts";

/** The kinds of database that this run tests, for `describe.each`. */
export const DATABASE_KINDS: readonly DatabaseKind[] = ofRun<DatabaseKind>("embedded", "postgres", "postgres");
