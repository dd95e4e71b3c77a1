import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Config } from "./config.ts";
import { type BootstrapOperatorDeps, bootstrapOperator } from "./keys/bootstrap-operator.ts";
import type { Log } from "./lib/log.ts";

export interface WriteFirstOperatorDeps extends BootstrapOperatorDeps {
  readonly config: Pick<Config, "production" | "dataDir">;
  readonly log: Log;
}

/** File of the first operator's credential in the data folder of a development service. */
export function adminCredentialFile(dataDir: string): string {
  return join(dataDir, "admin-credential");
}

/**
 * At a development start without an operator: makes the first one and leaves the credential in a file that only this
 * user can read. Production has `npm run bootstrap` for that.
 */
export async function writeFirstOperator(deps: WriteFirstOperatorDeps): Promise<void> {
  if (deps.config.production) return;
  const made = await bootstrapOperator(deps, { force: false });
  if (made === undefined) return;
  const path = adminCredentialFile(deps.config.dataDir);
  writeFileSync(path, `${made.secret}\n`, { mode: 0o600 });
  deps.log.warn("made an admin credential, for development only", { file: path, credential: made.credentialId });
}
