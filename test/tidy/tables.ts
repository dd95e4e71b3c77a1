/**
 * The house's floors as tables: who imports whom, who owns which package, which word has which home. To add a room, a
 * package or an exception, add its row here and say why.
 */

/** Each business room's sub-rooms. */
const AUTH = ["auth", "auth/passwords", "auth/signing", "auth/throttle"];
const KEYS = ["keys", "keys/credentials"];

/**
 * Room -> rooms that it may import, besides itself. A room is a folder of src/, or a folder or file in it that has a
 * row of its own here; what has none belongs to the folder around it. A test fails on a row's room that nothing
 * imports.
 */
export const FLOORS: Record<string, readonly string[]> = {
  lib: [],
  gen: [],
  // How a decision looks on the wire. The client's package takes it in, so it stands alone.
  answers: [],
  limits: ["lib"],
  changes: ["lib"],
  audit: ["lib"],
  "audit/export": ["audit", "lib"],
  shares: ["lib"],
  config: ["lib"],
  keys: ["limits", "changes", "audit", "lib"],
  "keys/credentials": ["keys", "changes", "audit", "lib"],
  auth: ["auth/passwords", "auth/throttle", "auth/tokens", "limits", "changes", "audit", "lib"],
  "auth/passwords": ["shares", "lib"],
  "auth/signing": ["audit", "changes", "lib"],
  "auth/throttle": ["auth", "auth/passwords", "audit", "lib"],
  "auth/tokens": ["auth", "auth/signing", "changes", "lib"],
  // The root is what all sub-rooms know: tables, rows, budgets. From the stores down, each layer imports those below
  // it.
  postgres: [],
  "postgres/errors": ["lib"],
  "postgres/history": ["postgres", "postgres/errors", "lib"],
  "postgres/connections": ["postgres", "postgres/errors", "postgres/history", "changes", "shares", "lib"],
  "postgres/transactions": [
    ...["postgres", "postgres/connections", "postgres/errors", "postgres/history"],
    ...["changes", "audit", "lib"],
  ],
  "postgres/migrations": ["postgres", "postgres/connections", "postgres/transactions", "lib"],
  "postgres/database.ts": [
    ...["postgres", "postgres/transactions", "postgres/connections", "postgres/errors", "postgres/history"],
    ...["postgres/migrations", "changes", "shares", "lib"],
  ],
  "postgres/rows": [
    "lib",
    ...["postgres", "postgres/database.ts", "postgres/transactions", "postgres/history"],
    ...["auth", "auth/signing", "auth/throttle", "keys", "limits", "changes", "audit"],
  ],
  "postgres/stores": [
    ...["postgres", "postgres/rows", "postgres/database.ts", "postgres/transactions", "postgres/connections"],
    ...["postgres/errors", "auth", "auth/signing", "auth/throttle", "keys", "changes", "audit", "audit/export"],
    ...["shares", "lib"],
  ],
  "postgres/start": ["postgres/database.ts", "postgres/connections", "postgres/errors", "lib"],
  redis: ["limits", "lib"],
  // Doors to the places that the audit trail is exported to.
  destinations: ["audit", "audit/export", "lib"],
  // The front door's root is what all its sub-rooms know: calls, routes, access, errors.
  rpc: ["shares", "lib", "gen"],
  "rpc/calls": ["rpc", "auth", ...KEYS, "limits", "changes", "audit", "shares", "lib"],
  "rpc/lanes": ["rpc", "rpc/calls", "lib", "gen"],
  "rpc/rest": ["rpc", "rpc/calls", "rpc/lanes", "lib", "gen"],
  "rpc/connections": ["rpc", "rpc/calls", "rpc/lanes", "shares", "lib"],
  "rpc/handlers": [
    "rpc",
    "auth",
    "auth/signing",
    "auth/tokens",
    ...KEYS,
    "limits",
    "changes",
    "audit",
    "shares",
    "lib",
    "gen",
  ],
  "rpc/standard": ["rpc", "rpc/lanes", "auth/signing", "lib", "gen"],
  "rpc/ops": ["rpc/calls", "lib"],
  "rpc/server.ts": ["rpc", "rpc/calls", "rpc/lanes", "rpc/rest", "rpc/connections", "rpc/standard", "lib"],
  // A door beside rpc/, for Envoy's protocols. Its calls come by rpc's lanes.
  envoy: ["answers", "keys", "limits", "lib", "gen"],
  "start/check-addresses.ts": ["config"],
  "start/version.ts": [],
  "start/signals.ts": ["lib"],
  "start/data-folder.ts": ["config", "postgres/connections", "postgres/database.ts", "lib"],
  "start/master-keys.ts": ["start/data-folder.ts", "config", "lib"],
  "start/prepared-database.ts": [
    ...["config", "postgres/start", "postgres/migrations", "postgres/database.ts", "shares", "lib"],
  ],
  "start/first-operator.ts": [
    ...["start/data-folder.ts", "start/master-keys.ts", "start/prepared-database.ts"],
    ...["config", "keys/credentials", "changes", "postgres/stores", "postgres/database.ts", "lib"],
  ],
  "start/ops-port.ts": ["config", "rpc/ops", "lib"],
  "start/workers.ts": ["lib"],
  // Reads the counts of all parts, without the doors that listen.
  "start/metric-sources.ts": [
    "start/audit-export.ts",
    ...["start/rooms.ts", "start/start-limiter.ts", "start/version.ts", "rpc/ops", "rpc/server.ts"],
    ...["changes", "keys", "limits", "postgres/database.ts", "lib"],
  ],
  "start/change-sources.ts": ["config", "changes", "keys", "postgres/stores", "postgres/database.ts", "lib"],
  "start/start-limiter.ts": ["config", "limits", "redis", "lib"],
  "start/audit-export.ts": [
    ...["config", "audit/export", "destinations", "postgres/stores", "postgres/database.ts", "shares", "lib"],
  ],
  // service.ts' own list of rooms and their stores, without the doors that listen.
  "start/rooms.ts": [
    "config",
    ...AUTH,
    "auth/tokens",
    ...KEYS,
    "limits",
    "changes",
    "audit",
    "shares",
    "postgres/stores",
    "postgres/database.ts",
    "lib",
  ],
  "start/expiring-rows.ts": ["start/audit-export.ts", "start/rooms.ts", "config", "changes", "lib"],
  "start/bindings.ts": ["start/rooms.ts", "rpc", "rpc/handlers", "envoy", "auth", "lib", "gen"],
  // Connects everything: the one file that may import any room.
  "start/service.ts": ["*"],
  // Entry points are processes of their own: they read the configuration and start what they need.
  cli: [
    ...["start/data-folder.ts", "start/first-operator.ts", "start/master-keys.ts", "start/prepared-database.ts"],
    ...["config", "postgres/start", "postgres/migrations", "postgres/database.ts", "shares", "lib"],
  ],
  "main.ts": [
    ...["start/check-addresses.ts", "start/first-operator.ts", "start/ops-port.ts", "start/service.ts"],
    ...["start/signals.ts", "start/workers.ts", "config", "lib"],
  ],
};

/** Package, or all of a scope with `/`, -> rooms that may import it. Tests, benchmarks and scripts may import any. */
export const OWNERS: Record<string, readonly string[]> = {
  "@connectrpc/": ["rpc"],
  "@bufbuild/protobuf": ["rpc", "envoy", "gen"],
  "@mikro-orm/": ["postgres"],
  pg: ["postgres"],
  ioredis: ["redis"],
  argon2: ["auth"],
  jose: ["auth"],
  "lru-cache": ["lib"],
  pino: ["lib"],
  "@opentelemetry/api": ["lib"],
  "prom-client": ["rpc"],
  // What lies above the bytes knows nothing of the wire.
  standardwebhooks: ["destinations"],
  "node:http": ["rpc", "destinations"],
  "node:https": ["destinations"],
  "node:http2": ["rpc"],
  "node:tls": ["rpc", "postgres", "redis"],
  // These would be second names for words that have one home.
  "node:process": [],
  "node:perf_hooks": [],
  "node:console": [],
};

/** Package -> the only files of src/ that may import it: every connection to PostgreSQL is made behind them. */
export const DOORS: Record<string, readonly string[]> = {
  pg: ["connection", "wire", "session-settings", "apply-settings"].map((name) => `src/postgres/connections/${name}.ts`),
  "@mikro-orm/postgresql": ["src/postgres/connections/pools.ts"],
  "@mikro-orm/pglite": ["src/postgres/connections/pools.ts"],
};

/** Word -> files that may use it. */
export const HOMES: readonly { readonly word: RegExp; readonly home: RegExp }[] = [
  { word: /^process\.env$/, home: /^src\/(main|cli\/[a-z-]+)\.ts$/ },
  { word: /^(Date\.now|performance\.now|process\.hrtime|new Date\(\))$/, home: /^src\/lib\/clock\.ts$/ },
  { word: /^new ConnectError\(/, home: /^src\/rpc\/errors\.ts$/ },
  { word: /^(Math\.random|console\.\w+)$/, home: /^$/ },
  // The doors to the database: what goes past them proves no server (docs/adr/0026).
  {
    word: /^(?!cluster\.).*\.(fork|getConnection|getNativeClient|getKysely)$/,
    home: /^src\/postgres\/(database|connections\/pools|transactions\/statements)\.ts$/,
  },
  // A statement that proves nothing: the polls of the change feed prove their server by themselves.
  { word: /\.unproven$/, home: /^src\/postgres\/(rows\/change-polls|database)\.ts$/ },
  // Each library reads a URL in its own way, and drops what it does not know. config/database-url.ts reads it.
  { word: /\b(clientUrl|connectionString)\b/, home: /^$/ },
];

/**
 * Names of node:fs that sources may import anywhere: they read. All others have one home, so that no secret is written
 * into a file that is there, through a link, or for others to read.
 */
export const READING =
  /^(access|existsSync|lstat|lstatSync|readdir|readdirSync|readFile|readFileSync|realpath|realpathSync|stat|statSync|unwatchFile|watch|watchFile|FSWatcher|Stats|StatWatcher|StatsListener)$/;
/** File of src/ -> names of node:fs beyond those that read. */
export const WRITERS: Readonly<Record<string, RegExp>> = {
  "src/lib/private-files.ts": /./,
  // To the standard output that is there.
  "src/lib/standard-output.ts": /^write(Sync)?$/,
  // Appends events, which hold no secret, to a file that is no link.
  "src/destinations/line-file.ts": /^(open|constants|FileHandle)$/,
  // Moves the lock, which private-files.ts has written.
  "src/postgres/connections/folder-lock.ts": /^(linkSync|renameSync|rmSync)$/,
};

export const NO_NAMES = /^(utils?|helpers?|common|managers?|impl|types|dto|index)$/;

export const MOST_LINES = 300;
export const MOST_FUNCTION_LINES = 60;
export const MOST_SERVICE_LINES = 200;

/** Files and functions (`path#name`) that are longer, each with the reason why it is better so. */
export const LONG: Record<string, string> = {
  "src/rpc/ops/metric-declarations.ts": "one table with a row for each metric, in the order of docs/METRICS.md",
  "src/lib/log-lines.ts": "one table with a row for each log line, in the order of docs/LOGS.md",
  "src/postgres/migrations/0001-first-schema.ts#up": "a schema is read from top to bottom, and never changed again",
};
