/**
 * Writes docs/CONFIG.md from the table of settings and docs/ERRORS.md from the table of reasons, into the folder given
 * or docs/. `npm run check` writes them elsewhere and compares.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { SETTING_SECTIONS } from "../src/config/config.ts";
import { ERRORS, type ErrorRow } from "../src/rpc/errors.ts";
import { configPage } from "./config-page.ts";
import { page } from "./markdown.ts";

const folder = process.argv[2] ?? join(import.meta.dirname, "../docs");
mkdirSync(folder, { recursive: true });
writeFileSync(join(folder, "CONFIG.md"), configPage(SETTING_SECTIONS));
writeFileSync(join(folder, "ERRORS.md"), errorsPage(ERRORS));

function errorsPage(reasons: Readonly<Record<string, ErrorRow>>): string {
  return page(
    "Errors",
    "src/rpc/errors.ts",
    `Each error carries one \`google.rpc.ErrorInfo\` with domain \`latchkey\` and one of these reasons; INVALID_ARGUMENT also a
\`BadRequest\` that names the fields (not where a message could not be read at all), and an error that waiting helps against a \`RetryInfo\`. A refused API key is no
error: VerifyKey answers OK with \`valid = false\` and a verdict.`,
    ["reason", "gRPC code", "meaning"],
    Object.entries(reasons).map(([reason, { code, doc }]) => [`\`${reason}\``, code, doc]),
  );
}
