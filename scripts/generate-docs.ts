/**
 * Writes docs/CONFIG.md from the table of settings, docs/ERRORS.md from the table of reasons, and docs/LOGS.md from the
 * table of log lines, into the folder given or docs/. `npm run check` writes them elsewhere and compares.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { SETTINGS, type Setting } from "../src/config/config.ts";
import { DATABASE_PARAMETERS, SSL_MODES } from "../src/config/database-url.ts";
import { CLIENT_VARIABLES } from "../src/config/names.ts";
import type { Reason } from "../src/lib/errors.ts";
import { ERRORS, type ErrorRow } from "../src/rpc/errors.ts";
import { ERROR_ADVICE } from "./error-advice.ts";
import { logsPage } from "./logs-page.ts";
import { page, table } from "./markdown.ts";

/** A test makes a user with exactly these lines, and others that lack one word of them. */
const REDIS_ACL = `## What the user of Redis needs

Where Redis has users (ACL), this one is enough for REDIS_URL with database 0:

\`\`\`
ACL SETUSER latchkey on >password resetkeys ~latchkey:limit:1:* resetchannels -@all +evalsha +eval +del +time +getrange +setrange +set +info
\`\`\`

Another database wants \`+select\` as well, REDIS_CLUSTER_NODES \`+cluster|slots +cluster|info +asking\` on every node.
\`+del\` is for ResetRateLimits alone. \`+info\` is for the warning about evicted windows alone. AUTH and HELLO are sent too,
and need no permission.
`;

const folder = process.argv[2] ?? join(import.meta.dirname, "../docs");
mkdirSync(folder, { recursive: true });
writeFileSync(join(folder, "CONFIG.md"), configPage(Object.values(SETTINGS)));
writeFileSync(join(folder, "ERRORS.md"), errorsPage(ERRORS));
writeFileSync(join(folder, "LOGS.md"), logsPage());

function configPage(settings: readonly Setting<unknown>[]): string {
  return settingsPage(settings) + databaseUrlSection();
}

function databaseUrlSection(): string {
  const rows = (table: Readonly<Record<string, string>>) =>
    Object.entries(table).map(([name, doc]) => [`\`${name}\``, doc]);
  return `
## DATABASE_URL

\`postgres://USER:PASSWORD@HOST:PORT/DATABASE?PARAMETER=VALUE&...\`, as libpq reads it. \`%\`, \`@\`, \`/\`, \`:\`, \`?\`, \`#\` and
spaces in a value are percent-encoded; an IPv6 address stands in brackets. Every connection of the service and of its
commands is made from this one reading. A parameter that is not in this table stops the start by name; so do several
hosts. \`PG*\` variables, \`~/.pgpass\` and \`~/.postgresql\` are not read; \`MIKRO_ORM_*\` variables stop the start.

${table(["parameter", "meaning"], rows(DATABASE_PARAMETERS))}

${table(["sslmode", "a connection is"], rows(SSL_MODES))}

- An authority that is given is checked in every mode that comes to TLS. A file that can't be read or parsed stops the
  start with its path, in every mode except \`disable\`; it never leads to a connection without TLS or without a check.
- The files are read again for each new connection: replace them, and no restart is needed. Connections that are open stay.
- A password that was refused over TLS is not tried again without, unlike libpq. \`sslkey\` may have any file mode.
- In production another machine needs \`require\` or more, or \`LATCHKEY_ALLOW_PLAINTEXT_DATABASE=true\`. \`require\` without
  \`sslrootcert\` keeps listeners out and does not prove the server: the start warns of it.
- A socket or loopback needs no TLS. A socket: \`postgres://USER@/DATABASE?host=/var/run/postgresql\`.
`;
}

function settingsPage(settings: readonly Setting<unknown>[]): string {
  return page(
    "Configuration",
    "src/config/settings.ts",
    `Everything is an environment variable. All faults are reported at once, and an unknown \`LATCHKEY_\` variable is one of
them. Spans of time have their unit in the name.

Two kinds of \`LATCHKEY_\` variables are no settings, and are let be:

- service links, which Kubernetes sets in each pod for a Service called \`latchkey\` or \`latchkey-redis\`, and Docker for a
  link: \`LATCHKEY_PORT=tcp://10.0.0.1:8080\`, \`LATCHKEY_SERVICE_HOST\`, \`LATCHKEY_REDIS_PORT_6379_TCP_ADDR\` and their like.
  Name and value must both be those of a link; \`LATCHKEY_PORT=8080\` is refused. A log line at the start names them.
- the variables of clients: ${CLIENT_VARIABLES.map((name) => `\`${name}\``).join(", ")}.`,
    ["variable", "default", "meaning"],
    settings.map(({ name, default: value, doc }) => [`\`${name}\``, value ? `\`${value}\`` : "–", doc]),
  ).concat(`\n${REDIS_ACL}`);
}

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
