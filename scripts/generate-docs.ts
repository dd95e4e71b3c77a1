/**
 * Writes CONFIG.md from the table of settings, ERRORS.md from the table of reasons, LOGS.md from the table of log
 * lines, and METRICS.md from the table of metrics. They go into the given folder, or into docs/. The schema of the
 * chart's values goes into the second folder, or into the chart. `npm run check` writes them elsewhere and compares.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { SETTING_SECTIONS } from "../src/config/config.ts";
import type { Reason } from "../src/lib/errors.ts";
import { ERRORS, type ErrorRow } from "../src/rpc/errors.ts";
import { chartSchema } from "./chart-schema.ts";
import { configPage } from "./config-page.ts";
import { ERROR_ADVICE } from "./error-advice.ts";
import { logsPage } from "./logs-page.ts";
import { page } from "./markdown.ts";
import { metricsPage } from "./metrics-page.ts";

const root = join(import.meta.dirname, "..");
const [, , folder = join(root, "docs"), chart = join(root, "deploy/chart/latchkey")] = process.argv;
for (const each of [folder, chart]) mkdirSync(each, { recursive: true });
writeFileSync(join(folder, "CONFIG.md"), configPage(SETTING_SECTIONS));
writeFileSync(join(folder, "ERRORS.md"), errorsPage(ERRORS));
writeFileSync(join(folder, "LOGS.md"), logsPage());
writeFileSync(join(folder, "METRICS.md"), await metricsPage());
writeFileSync(join(chart, "values.schema.json"), chartSchema());

function errorsPage(reasons: Readonly<Record<Reason, ErrorRow>>): string {
  return page(
    "Errors",
    "src/rpc/errors.ts and scripts/error-advice.ts",
    `Each error carries one \`google.rpc.ErrorInfo\` with the domain \`latchkey\` and one of these reasons. Decide by the
reason; the text is for people. These details may come with it:

- a \`BadRequest\` that names the fields, with INVALID_ARGUMENT, unless the message could not be decoded at all;
- a \`QuotaFailure\` that names the owner of the quota;
- a \`RetryInfo\`, if waiting helps.

A refused API key is no error: VerifyKey answers OK with \`valid = false\` and a verdict.`,
    ["reason", "gRPC code", "meaning", "what to do"],
    Object.entries(reasons).map(([reason, { code, doc }]) => [
      `\`${reason}\``,
      code,
      doc,
      ERROR_ADVICE[reason as Reason],
    ]),
  );
}
