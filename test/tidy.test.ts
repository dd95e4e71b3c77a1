/**
 * The house's floors as tables: who imports whom, who owns which package, which word has which home. An architecture
 * that is not checked is gone in a year. To add a room, a package or an exception, add its row here and say why.
 */
import { globSync, readFileSync } from "node:fs";
import { basename, dirname, join, normalize } from "node:path";
import { describe, expect, it } from "vitest";
import { readSource, type SourceFile } from "./support/source-file.ts";

/** Every room; only service.ts sees all. */
const ROOMS = [
  "auth",
  "keys",
  "limits",
  "changes",
  "audit",
  "shares",
  "lib",
  "postgres",
  "redis",
  "rpc",
  "envoy",
  "gen",
];

/** What starts the rooms: files of src/ itself. */
const ROOF = [
  ...[
    "config.ts",
    "data-folder.ts",
    "master-keys.ts",
    "prepared-database.ts",
    "first-operator.ts",
    "free-addresses.ts",
    "rooms.ts",
  ],
  ...["master-key-report.ts"],
  ...["bindings.ts", "ops-port.ts", "service.ts", "signals.ts", "workers.ts"],
];

/** Room -> rooms that it may import, beside itself. A name with `.ts` is a file of src/ itself. */
const FLOORS: Record<string, readonly string[]> = {
  lib: [],
  limits: ["lib"],
  changes: ["lib"],
  audit: ["lib"],
  shares: ["lib"],
  keys: ["limits", "changes", "audit", "lib"],
  auth: ["limits", "changes", "audit", "shares", "lib"],
  postgres: ["auth", "keys", "limits", "changes", "audit", "shares", "lib"],
  redis: ["auth", "keys", "limits", "changes", "audit", "lib"],
  rpc: ["auth", "keys", "limits", "changes", "audit", "shares", "lib", "gen"],
  envoy: ["auth", "keys", "limits", "changes", "audit", "lib", "gen"],
  // Its entry points are processes of their own: like main.ts they read the configuration and start what they need.
  cli: ["auth", "keys", "limits", "changes", "audit", "lib", "gen", ...ROOF],
  gen: [],
  "config-values.ts": ["lib"],
  "config-database-url.ts": ["config-values.ts", "lib"],
  "config-redis.ts": ["config-values.ts"],
  "config-networks.ts": ["lib"],
  "config-settings.ts": [
    ...["config-database-url.ts", "config-networks.ts", "config-redis.ts", "config-values.ts", "lib"],
  ],
  "config-names.ts": ["config-settings.ts"],
  "config-refusals.ts": ["config-settings.ts", "lib"],
  "config.ts": [
    ...["config-database-url.ts", "config-settings.ts", "config-names.ts", "config-networks.ts", "config-refusals.ts"],
    ...["config-redis.ts", "config-values.ts", "lib"],
  ],
  "data-folder.ts": ["config.ts", "postgres", "lib"],
  "master-keys.ts": ["config.ts", "config-values.ts", "data-folder.ts", "lib"],
  "first-operator.ts": [
    "config.ts",
    "data-folder.ts",
    "master-keys.ts",
    "prepared-database.ts",
    "keys",
    "changes",
    "postgres",
    "lib",
  ],
  "master-key-report.ts": ["config.ts", "master-keys.ts", "prepared-database.ts", "postgres", "shares", "lib"],
  "free-addresses.ts": ["config.ts"],
  "prepared-database.ts": ["config.ts", "master-keys.ts", "postgres", "shares", "lib"],
  "ops-port.ts": ["config.ts", "rpc", "lib"],
  "workers.ts": ["config.ts", "ops-port.ts", "lib"],
  "signals.ts": ["lib"],
  // service.ts' own list of rooms and their stores, without the doors that listen.
  "rooms.ts": ["config.ts", "audit", "auth", "keys", "limits", "changes", "postgres", "shares", "lib"],
  "bindings.ts": ["rooms.ts", "changes", "rpc", "gen"],
  "service.ts": [...ROOMS, ...ROOF],
  "main.ts": [...ROOF, "lib"],
};

/** Package, or all of a scope with `/`, -> rooms that may import it. Tests, benchmarks and scripts may import any. */
const OWNERS: Record<string, readonly string[]> = {
  "@connectrpc/": ["rpc", "cli"],
  "@bufbuild/protobuf": ["rpc", "envoy", "cli", "gen"],
  "@mikro-orm/": ["postgres"],
  pg: ["postgres"],
  ioredis: ["redis"],
  argon2: ["auth"],
  jose: ["auth"],
  "lru-cache": ["lib"],
  pino: ["lib"],
  "prom-client": ["rpc"],
  // What lies above the bytes knows nothing of the wire.
  "node:http": ["rpc", "cli"],
  "node:http2": ["rpc", "cli"],
  "node:tls": ["rpc", "cli", "postgres", "redis"],
  // These would be second names for words that have one home.
  "node:process": [],
  "node:perf_hooks": [],
  "node:console": [],
};

/** Package -> the only files of src/ that may import it: every connection to PostgreSQL is made behind them. */
const DOORS: Record<string, readonly string[]> = {
  pg: ["connection", "wire", "session-settings", "settled-statements"].map((name) => `src/postgres/${name}.ts`),
  "@mikro-orm/postgresql": ["src/postgres/pools.ts"],
  "@mikro-orm/pglite": ["src/postgres/pools.ts"],
};

/** Word -> files that may use it. */
const HOMES: readonly { readonly word: RegExp; readonly home: RegExp }[] = [
  { word: /^process\.env$/, home: /^src\/(main|cli\/[a-z-]+)\.ts$/ },
  { word: /^(Date\.now|performance\.now|process\.hrtime|new Date\(\))$/, home: /^src\/lib\/clock\.ts$/ },
  { word: /^new ConnectError\(/, home: /^src\/rpc\/errors\.ts$/ },
  { word: /^(Math\.random|console\.\w+)$/, home: /^$/ },
  // The doors to the database: what goes past them proves no server (docs/adr/0026).
  {
    word: /^(?!cluster\.).*\.(fork|getConnection|getNativeClient|getKysely)$/,
    home: /^src\/postgres\/(database|pools|statements)\.ts$/,
  },
  // A statement that proves nothing: the polls of the change feed prove their server by themselves.
  { word: /\.unproven$/, home: /^src\/postgres\/(change-polls|database)\.ts$/ },
  // Each library reads a URL in its own way, and drops what it does not know. config-database-url.ts reads it.
  { word: /\b(clientUrl|connectionString)\b/, home: /^$/ },
];

/**
 * Names of node:fs that sources may import anywhere: they read. All others have one home, so that no secret is written
 * into a file that is there, through a link, or for others to read.
 */
const READING =
  /^(access|existsSync|lstat|lstatSync|readdir|readdirSync|readFile|readFileSync|realpath|realpathSync|stat|statSync|unwatchFile|watch|watchFile|FSWatcher|Stats|StatWatcher|StatsListener)$/;
/** File of src/ -> names of node:fs beyond those that read. */
const WRITERS: Readonly<Record<string, RegExp>> = {
  "src/lib/private-files.ts": /./,
  // To the standard output that is there.
  "src/lib/standard-output.ts": /^write(Sync)?$/,
  // Moves the lock, which private-files.ts has written.
  "src/postgres/folder-lock.ts": /^(linkSync|renameSync|rmSync)$/,
};

const NO_NAMES = /^(utils?|helpers?|common|managers?|impl|types|dto|index)$/;

const MOST_LINES = 300;
const MOST_FUNCTION_LINES = 60;
const MOST_SERVICE_LINES = 200;

/** Files and functions (`path#name`) that are longer, each with the reason why it is better so. */
const LONG: Record<string, string> = {
  "src/config-settings.ts": "one table with a row for each setting, in the order of docs/CONFIG.md",
  "src/postgres/migrations/0001-first-schema.ts#up": "a schema is read from top to bottom, and never changed again",
};

/** Everything that breaks a rule in a tree of sources, one line each. */
function faultsOf(files: readonly SourceFile[]): string[] {
  const ours = files.filter((file) => file.path.startsWith("src/") && roomOf(file.path) !== "gen");
  return [
    ...ours.flatMap(floorFaults),
    ...ours.flatMap(packageFaults),
    ...ours.flatMap(doorFaults),
    ...ours.flatMap(wordFaults),
    ...ours.flatMap(fileFaults),
    ...files.flatMap(nameFaults),
    ...files.flatMap(importFaults),
    ...files.flatMap(lengthFaults),
    ...files.flatMap(promiseFaults),
    ...cycleFaults(ours),
  ];
}

function floorFaults(file: SourceFile): string[] {
  const room = roomOf(file.path);
  const allowed = FLOORS[room];
  if (allowed === undefined) return [`floors: ${file.path} is in no room that this table knows`];
  return targetsOf(file)
    .map(roomOf)
    .filter((target) => target !== room && !allowed.includes(target))
    .map((target) => `floors: ${file.path} imports ${target}`);
}

function packageFaults(file: SourceFile): string[] {
  return file.imports
    .filter((source) => !source.startsWith("."))
    .flatMap((source) => {
      const owner = Object.keys(OWNERS).find((name) =>
        name.endsWith("/") ? source.startsWith(name) : source === name || source.startsWith(`${name}/`),
      );
      if (owner === undefined)
        return source.startsWith("node:") ? [] : [`packages: nobody owns ${source} (${file.path})`];
      return OWNERS[owner]!.includes(roomOf(file.path)) ? [] : [`packages: ${file.path} imports ${source}`];
    });
}

function doorFaults(file: SourceFile): string[] {
  return file.imports
    .filter((source) => DOORS[source] !== undefined && !DOORS[source].includes(file.path))
    .map((source) => `doors: ${file.path} imports ${source}`);
}

function wordFaults(file: SourceFile): string[] {
  const words = [...file.words];
  return HOMES.filter(({ home }) => !home.test(file.path)).flatMap(({ word }) =>
    words.filter((each) => word.test(each)).map((each) => `words: ${file.path} uses ${each}`),
  );
}

function fileFaults(file: SourceFile): string[] {
  return file.importedNames.flatMap((each) => {
    const [, name] = /^(?:node:)?fs(?:\/promises)?#(.+)$/.exec(each) ?? [];
    if (name === undefined || READING.test(name) || WRITERS[file.path]?.test(name)) return [];
    return [`files: ${file.path} imports ${each}; use lib/private-files.ts`];
  });
}

function nameFaults(file: SourceFile): string[] {
  const words = file.path.split(/[/.-]/);
  return words.filter((word) => NO_NAMES.test(word)).map((word) => `names: ${file.path} is called ${word}`);
}

function importFaults(file: SourceFile): string[] {
  return file.imports
    .filter((source) => source === "?" || (source.startsWith(".") && !/\.(ts|json)$/.test(source)))
    .map((source) => `imports: ${file.path} imports ${source}, which does not end in .ts`);
}

function lengthFaults(file: SourceFile): string[] {
  // A test file is a list of cases: it may be as long as there are cases.
  if (file.path.endsWith(".test.ts")) return [];
  const long = file.functions.filter(({ lines }) => lines > MOST_FUNCTION_LINES);
  return [
    ...(file.lines > mostLines(file) && !(file.path in LONG) ? [`length: ${file.path} has ${file.lines} lines`] : []),
    ...long
      .filter(({ name }) => !(`${file.path}#${name}` in LONG))
      .map(({ name, lines }) => `length: ${file.path}#${name} has ${lines} lines`),
  ];
}

/** Rejections that nobody listens to yet end the process: `Promise.all` and `Promise.allSettled` listen to all at once. */
function promiseFaults({ path, promiseLists }: SourceFile): string[] {
  return promiseLists.map((name) => `promises: ${path} waits one by one for those of ${name}`);
}

/** The one place where things are connected must stay one that can be read. */
function mostLines(file: SourceFile): number {
  return file.path === "src/service.ts" ? MOST_SERVICE_LINES : MOST_LINES;
}

/** Types count: rooms that know each other's types are one room. */
function cycleFaults(files: readonly SourceFile[]): string[] {
  const targets = new Map(files.map((file) => [file.path, targetsOf(file)]));
  const done = new Set<string>();
  const faults: string[] = [];
  function walk(path: string, trail: readonly string[]): void {
    const seen = trail.indexOf(path);
    if (seen >= 0) faults.push(`cycles: ${[...trail.slice(seen), path].join(" -> ")}`);
    if (seen >= 0 || done.has(path)) return;
    for (const target of targets.get(path) ?? []) walk(target, [...trail, path]);
    done.add(path);
  }
  for (const path of targets.keys()) walk(path, []);
  return faults;
}

/** `src/keys/key.ts` is in `keys`, `src/main.ts` is `main.ts`, and what is outside of src/ is in `..`. */
function roomOf(path: string): string {
  const [top, room] = path.split("/");
  return top === "src" && room !== undefined ? room : "..";
}

function targetsOf(file: SourceFile): string[] {
  return file.imports
    .filter((source) => source.startsWith("."))
    .map((source) => normalize(join(dirname(file.path), source)));
}

const root = join(import.meta.dirname, "..");
const paths = globSync(["src/**/*.ts", "test/**/*.ts", "bench/**/*.ts", "scripts/**/*.ts", "*.ts"], {
  cwd: root,
}).sort();
const house = paths
  .filter((path) => !path.startsWith("src/gen/"))
  .map((path) => readSource(path, readFileSync(join(root, path), "utf8")));

describe("the house", () => {
  it("keeps every rule", () => {
    expect(house.length).toBeGreaterThan(20);
    expect(faultsOf(house)).toEqual([]);
  });

  it("has no exception that nothing needs any more", () => {
    const names = house.flatMap((file) => [
      ...(file.lines > mostLines(file) ? [file.path] : []),
      ...file.functions.filter(({ lines }) => lines > MOST_FUNCTION_LINES).map(({ name }) => `${file.path}#${name}`),
    ]);
    expect(Object.keys(LONG).filter((name) => !names.includes(name))).toEqual([]);
  });

  it("has an owner for every runtime dependency", () => {
    const { dependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
    const owned = Object.keys(OWNERS);
    const orphans = Object.keys(dependencies).filter(
      (name) => !owned.some((owner) => name === owner || (owner.endsWith("/") && name.startsWith(owner))),
    );
    expect(orphans).toEqual([]);
  });
});

describe("each rule can fail:", () => {
  const long = (lines: number) => "let a = 0;\n".repeat(lines);
  it.each<[rule: string, path: string, text: string]>([
    ["floors", "src/lib/a.ts", 'import "../keys/key.ts";'],
    ["floors", "src/keys/a.ts", 'import type { User } from "../auth/user.ts";'],
    ["floors", "src/auth/a.ts", 'export { key } from "../keys/key.ts";'],
    ["floors", "src/limits/a.ts", 'export * from "../changes/change.ts";'],
    ["floors", "src/rpc/a.ts", 'const a = await import("../postgres/orm.ts");'],
    ["floors", "src/keys/a.ts", 'type A = import("../gen/latchkey/v1/key_pb.ts").Key;'],
    ["floors", "src/keys/a.ts", 'import { readConfig } from "../config.ts";'],
    ["floors", "src/main.ts", 'import "./rpc/server.ts";'],
    ["floors", "src/rpc/a.ts", 'import "../../test/support/shifted-clock.ts";'],
    ["floors", "src/things/a.ts", ""],
    ["packages", "src/keys/a.ts", 'import { Code } from "@connectrpc/connect";'],
    ["packages", "src/auth/a.ts", 'import { sql } from "@mikro-orm/core";'],
    ["packages", "src/keys/a.ts", 'import { hash } from "argon2";'],
    ["packages", "src/keys/a.ts", 'import { jwtVerify } from "jose/jwt/verify";'],
    ["packages", "src/limits/a.ts", 'import { Redis } from "ioredis";'],
    ["packages", "src/rpc/a.ts", 'import { pino } from "pino";'],
    ["packages", "src/rpc/a.ts", 'import leftPad from "left-pad";'],
    ["packages", "src/rpc/a.ts", 'import { env } from "node:process";'],
    ["packages", "src/keys/a.ts", 'import type { ServerHttp2Stream } from "node:http2";'],
    ["doors", "src/postgres/a.ts", 'import pg from "pg";'],
    ["doors", "src/postgres/a.ts", 'import type { Client } from "pg";'],
    ["doors", "src/postgres/a.ts", 'const { Pool } = await import("pg");'],
    ["doors", "src/postgres/a.ts", 'import { MikroORM } from "@mikro-orm/postgresql";'],
    ["words", "src/postgres/a.ts", "const a = { clientUrl: url };"],
    ["words", "src/postgres/a.ts", 'const a = { "connectionString": url };'],
    ["words", "src/postgres/a.ts", "options.clientUrl = url;"],
    ["words", "src/service.ts", "const a = process.env.HOME;"],
    ["words", "src/rpc/a.ts", 'const a = globalThis.process["env"];'],
    ["words", "src/rpc/a.ts", "const { env } = process;"],
    ["words", "src/keys/a.ts", "const a = Date.now();"],
    ["words", "src/keys/a.ts", "const a = performance.now;"],
    ["words", "src/keys/a.ts", "const a = new Date();"],
    ["words", "src/rpc/a.ts", 'throw new ConnectError("no");'],
    ["words", "src/lib/random.ts", "const a = Math.random();"],
    ["words", "src/cli/a.ts", 'console.error("no");'],
    ["words", "src/postgres/a-store.ts", 'await orm.em.fork().execute("select 1");'],
    ["words", "src/postgres/a-store.ts", "const kysely = em.getKysely();"],
    ["words", "src/postgres/a-store.ts", 'await this.#database.unproven("select 1", []);'],
    ["files", "src/keys/a.ts", 'import { writeFileSync } from "node:fs";'],
    ["files", "src/cli/a.ts", 'import { existsSync, createWriteStream as open } from "node:fs";'],
    ["files", "src/cli/a.ts", 'import { "appendFile" as add } from "node:fs/promises";'],
    ["files", "src/lib/a.ts", 'import * as files from "node:fs";'],
    ["files", "src/lib/a.ts", 'import files from "node:fs";'],
    ["files", "src/rpc/a.ts", 'const files = await import("node:fs/promises");'],
    ["files", "src/lib/a.ts", 'export { rmSync } from "node:fs";'],
    ["files", "src/lib/a.ts", 'export * from "node:fs";'],
    ["files", "src/postgres/folder-lock.ts", 'import { writeFileSync } from "node:fs";'],
    ["names", "src/keys/utils.ts", ""],
    ["names", "src/keys/cache-manager.ts", ""],
    ["names", "src/keys/types/key.ts", ""],
    ["names", "src/keys/index.ts", ""],
    ["names", "test/helpers/clock.ts", ""],
    ["imports", "src/keys/a.ts", 'import "./key";'],
    ["imports", "test/a.ts", 'import "./b.js";'],
    ["imports", "test/a.ts", "await import(name);"],
    ["length", "src/keys/a.ts", long(301)],
    ["length", "src/service.ts", long(201)],
    ["length", "scripts/a.ts", `function a() {\n${long(60)}}`],
    ["length", "src/keys/a.ts", `const a = () => {\n${long(60)}};`],
    ["length", "src/keys/a.ts", `class A { b() {\n${long(60)}} }`],
    ["cycles", "src/keys/a.ts", 'import "./a.ts";'],
    ["promises", "test/a.ts", "const all = ids.map((id) => get(id));\nfor (const one of all) await one;"],
    ["promises", "test/a.ts", "const all = ids.map(get);\nfor (const [n, one] of all.entries()) use(n, await one);"],
    ["promises", "test/a.ts", "for (const one of ids.map(async (id) => get(id))) seen.push(await one);"],
    [
      "promises",
      "test/a.ts",
      "async () => { const all = Array.from(ids, get);\nfor await (const one of all) use(one); };",
    ],
    ["promises", "test/a.ts", "const all = [a(), b()];\nfor (const one of all) await expect(one).rejects.toThrow();"],
    ["promises", "test/a.ts", "const all = [a(), b()];\nfor (const one of all) use(await errorOf(one));"],
    ["promises", "src/keys/a.ts", "const all = ids.map(get);\nuse(await all[0]!, await all[1]!);"],
    ["promises", "test/a.ts", "const [a, b] = ids.map(get);\nawait expect(a).resolves.toBe(1);\nb;"],
    ["promises", "test/a.ts", "const all = ids.map(get);\nfor (const one of all) await one;\nawait Promise.all(all);"],
  ])("%s: %s %#", (rule, path, text) => {
    const faults = faultsOf([readSource(path, text)]);
    expect(faults).toHaveLength(1);
    expect(faults[0]).toMatch(new RegExp(`^${rule}: .*${basename(path)}`));
  });

  it("cycles: over three files, told once", () => {
    const next = { "a.ts": "b.ts", "b.ts": "c.ts", "c.ts": "a.ts" };
    const files = Object.entries(next).map(([from, to]) =>
      readSource(`src/keys/${from}`, `import type {} from "./${to}";`),
    );
    expect(faultsOf(files)).toEqual(["cycles: src/keys/a.ts -> src/keys/b.ts -> src/keys/c.ts -> src/keys/a.ts"]);
  });
});

describe("no rule fails for:", () => {
  it.each<[what: string, path: string, text: string]>([
    ["a door that imports a room and generated code", "src/rpc/a.ts", 'import "../keys/key.ts"; import "../gen/a.ts";'],
    ["a date that is made from a time", "src/keys/a.ts", "const a = new Date(5);"],
    ["a word in a comment or a text", "src/keys/a.ts", '// Date.now()\nconst a = "process.env";'],
    ["a source that reads a file", "src/rpc/a.ts", 'import { readFileSync, type Stats } from "node:fs";'],
    ["the home of private files", "src/lib/private-files.ts", 'import { writeFileSync } from "node:fs";'],
    ["an entry point that reads the environment", "src/cli/bootstrap.ts", "const a = process.env;"],
    ["the home of time", "src/lib/clock.ts", "const a = Date.now();"],
    [
      "a factory whose functions are short",
      "src/keys/a.ts",
      `function f() {\n${"const g = () => {\n1;\n};\n".repeat(30)}}`,
    ],
    [
      "promises that are listened to before they are looked at one by one",
      "test/a.ts",
      "const all = ids.map(get);\nawait Promise.allSettled(all);\nfor (const one of all) use(await one);",
    ],
    [
      "promises that are made one by one",
      "test/a.ts",
      "const all = ids.map((id) => () => get(id));\nfor (const one of all) await one();\nawait all[0]!();",
    ],
    [
      "a list that is waited for, elsewhere called as one of promises",
      "test/a.ts",
      "{ const all = ids.map(get); await Promise.all(all); }\n{ const all = read(); for (const one of all) await one; }",
    ],
    [
      "a test that imports what it likes",
      "test/a.test.ts",
      'import "../src/keys/key.ts"; import "ioredis"; new Date();',
    ],
  ])("%s", (_what, path, text) => {
    expect(faultsOf([readSource(path, text)])).toEqual([]);
  });
});
