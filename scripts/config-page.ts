/** docs/CONFIG.md: the settings by section, and the forms of DATABASE_URL. */
import type { Setting } from "../src/config/config.ts";
import { DATABASE_PARAMETERS, SSL_MODES } from "../src/config/database-url.ts";
import { CLIENT_VARIABLES } from "../src/config/names.ts";
import { heading, table } from "./markdown.ts";

/**
 * The permissions that the user of Redis needs. A test makes a user with exactly these lines, and other users that each
 * lack one word.
 */
const REDIS_ACL = `## What the user of Redis needs

If Redis has users (ACL), this one is enough for REDIS_URL with database 0:

\`\`\`
ACL SETUSER latchkey on >password resetkeys ~latchkey:limit:1:* resetchannels -@all +evalsha +eval +del +time +getrange +setrange +set +info
\`\`\`

Another database also needs \`+select\`. REDIS_CLUSTER_NODES also needs \`+cluster|slots +cluster|info +asking\` on every
node. \`+del\` is for ResetRateLimits alone. \`+info\` is for the warning about evicted windows alone. AUTH and HELLO are
sent too, and need no permission.
`;

type Sections = Readonly<Record<string, Readonly<Record<string, Setting<unknown>>>>>;

export function configPage(sections: Sections): string {
  const tables = Object.entries(sections).map(([title, settings]) => settingsSection(title, Object.values(settings)));
  return [introduction(), ...tables, REDIS_ACL].join("\n") + databaseUrlSection();
}

function settingsSection(title: string, settings: readonly Setting<unknown>[]): string {
  const rows = settings.map(({ name, default: value, doc }) => [`\`${name}\``, value ? `\`${value}\`` : "–", doc]);
  return `## ${title}\n\n${table(["variable", "default", "meaning"], rows)}\n`;
}

function databaseUrlSection(): string {
  const rows = (table: Readonly<Record<string, string>>) =>
    Object.entries(table).map(([name, doc]) => [`\`${name}\``, doc]);
  return `
## DATABASE_URL

\`postgres://USER:PASSWORD@HOST:PORT/DATABASE?PARAMETER=VALUE&...\`, as libpq reads it. \`%\`, \`@\`, \`/\`, \`:\`, \`?\`, \`#\` and
spaces in a value are percent-encoded; an IPv6 address stands in brackets. The service and its commands read the URL in
the same way. A parameter that is not in this table stops the start, which names it; so do several hosts. \`PG*\`
variables, \`~/.pgpass\` and \`~/.postgresql\` are not read; \`MIKRO_ORM_*\` variables stop the start.

${table(["parameter", "meaning"], rows(DATABASE_PARAMETERS))}

${table(["sslmode", "a connection is"], rows(SSL_MODES))}

- If \`sslrootcert\` is set, each connection with TLS checks the server's certificate against it, in every mode. A file
  that can't be read or parsed stops the start with its path, in every mode except \`disable\`. It never leads to a
  connection without TLS or without the check.
- The files are read again for each new connection, so replacing them needs no restart. Open connections stay.
- Unlike libpq, the service does not send a password without TLS after it was refused with TLS. \`sslkey\` may have any
  file mode.
- In production a PostgreSQL on another machine needs \`require\` or more, or \`LATCHKEY_ALLOW_PLAINTEXT_DATABASE=true\`.
  \`require\` without \`sslrootcert\` protects against listeners, but does not prove the server: the start warns of it.
- A socket or loopback needs no TLS. A socket: \`postgres://USER@/DATABASE?host=/var/run/postgresql\`.
`;
}

function introduction(): string {
  return `${heading("Configuration", "src/config/settings.ts")}

Every setting is an environment variable. The start reports all faults at once; an unknown \`LATCHKEY_\` variable is a
fault too. A setting that is a time has its unit in its name.

Two kinds of \`LATCHKEY_\` variables are not settings, and are ignored:

- service links, which Kubernetes sets in each pod for a Service called \`latchkey\` or \`latchkey-redis\`, and Docker for
  a link: \`LATCHKEY_PORT=tcp://10.0.0.1:8080\`, \`LATCHKEY_SERVICE_HOST\`, \`LATCHKEY_REDIS_PORT_6379_TCP_ADDR\` and others
  of these forms. Both the name and the value must be those of a link; \`LATCHKEY_PORT=8080\` is refused. A log line at
  the start names them.
- the variables of clients: ${CLIENT_VARIABLES.map((name) => `\`${name}\``).join(", ")}.
`;
}
