/** The house keeps the rules of test/tidy/, and each of these rules can fail. */
import { globSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { describe, expect, it } from "vitest";
import { readSource } from "./support/source-file.ts";
import { faultsOf, mostLines, roomOf, targetsOf } from "./tidy/rules.ts";
import { DOORS, FLOORS, HOMES, LONG, MOST_FUNCTION_LINES, OWNERS, WRITERS } from "./tidy/tables.ts";

const root = join(import.meta.dirname, "..");
const paths = globSync(
  [
    "src/**/*.ts",
    "client/src/**/*.ts",
    "cli/src/**/*.ts",
    "examples/*.ts",
    "test/**/*.ts",
    "bench/**/*.ts",
    "scripts/**/*.ts",
    "*.ts",
  ],
  {
    cwd: root,
  },
).sort();
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

  it("has no room in a row that nothing of that row imports", () => {
    const used = new Set(
      house.flatMap((file) => targetsOf(file).map((target) => `${roomOf(file.path)} -> ${roomOf(target)}`)),
    );
    const rows = Object.entries(FLOORS).flatMap(([room, allowed]) => allowed.map((target) => `${room} -> ${target}`));
    expect(rows.filter((row) => !row.endsWith("*") && !used.has(row))).toEqual([]);
  });

  it("has no owner, no door and no writer in a table that does not use what the table allows", () => {
    const importers = (name: string) => house.filter(({ imports }) => imports.some((each) => isOf(each, name)));
    const isOf = (source: string, name: string) => (name.endsWith("/") ? source.startsWith(name) : source === name);
    const owners = Object.entries(OWNERS).flatMap(([name, allowed]) =>
      allowed
        .filter((folder) => folder !== "gen" && !importers(name).some(({ path }) => path.startsWith(`src/${folder}`)))
        .map((folder) => `${name}: ${folder}`),
    );
    const doors = Object.entries(DOORS).flatMap(([name, allowed]) =>
      allowed.filter((path) => !importers(name).some((file) => file.path === path)).map((path) => `${name}: ${path}`),
    );
    const writers = Object.entries(WRITERS).filter(([path, names]) => {
      const imported = house.find((file) => file.path === path)?.importedNames ?? [];
      return !imported.some((each) => each.includes("fs") && names.test(each.split("#")[1]!));
    });
    expect([...owners, ...doors, ...writers]).toEqual([]);
  });

  it("has no home for a word that no file in it uses", () => {
    const words = house.map(({ path, words }) => ({ path, words: [...words] }));
    const unused = HOMES.filter(
      ({ word, home }) =>
        home.source !== "^$" &&
        !words.some((file) => home.test(file.path) && file.words.some((each) => word.test(each))),
    );
    expect(unused).toEqual([]);
  });

  it("starts the service only in tests that `npm run test:servers` repeats with servers", () => {
    const isRepeated = /^test\/((rpc|wire|client|command|support)\/|.*\.(servers|faults)\.test\.ts$)/;
    const starting = house.filter(({ importedNames }) =>
      importedNames.some((name) => name.endsWith("#startTestService")),
    );
    expect(starting.length).toBeGreaterThan(20);
    expect(starting.map(({ path }) => path).filter((path) => !isRepeated.test(path))).toEqual([]);
  });

  it("runs its benchmarks without vitest, which works only in its own tests", () => {
    const byPath = new Map(house.map((file) => [file.path, file]));
    const reached = new Set(house.filter(({ path }) => path.startsWith("bench/")));
    for (const file of reached) {
      for (const target of targetsOf(file)) if (byPath.has(target)) reached.add(byPath.get(target)!);
    }
    expect(reached.size).toBeGreaterThan(50);
    expect([...reached].filter(({ imports }) => imports.includes("vitest")).map(({ path }) => path)).toEqual([]);
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
    ["floors", "src/keys/a.ts", 'import { readConfig } from "../config/config.ts";'],
    ["floors", "src/main.ts", 'import "./rpc/server.ts";'],
    ["floors", "src/rpc/a.ts", 'import "../../test/support/shifted-clock.ts";'],
    ["floors", "src/things/a.ts", ""],
    ["floors", "src/start/things.ts", ""],
    ["floors", "src/rpc/handlers/a.ts", 'import "../lanes/port.ts";'],
    ["floors", "src/rpc/lanes/a.ts", 'import "../handlers/times.ts";'],
    ["floors", "src/rpc/call.ts", 'import "./calls/concerns.ts";'],
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
    ["stores", "src/postgres/stores/a-store.ts", 'import { findKey } from "./key-store.ts";'],
    ["floors", "src/postgres/rows/a.ts", 'import "../stores/key-store.ts";'],
    ["words", "src/postgres/a.ts", "const a = { clientUrl: url };"],
    ["words", "src/postgres/a.ts", 'const a = { "connectionString": url };'],
    ["words", "src/postgres/a.ts", "options.clientUrl = url;"],
    ["words", "src/start/service.ts", "const a = process.env.HOME;"],
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
    ["files", "src/postgres/connections/folder-lock.ts", 'import { writeFileSync } from "node:fs";'],
    ["names", "src/keys/utils.ts", ""],
    ["names", "src/keys/cache-manager.ts", ""],
    ["names", "src/keys/types/key.ts", ""],
    ["names", "src/keys/index.ts", ""],
    ["names", "test/helpers/clock.ts", ""],
    ["imports", "src/keys/a.ts", 'import "./key";'],
    ["imports", "test/a.ts", 'import "./b.js";'],
    ["imports", "test/a.ts", "await import(name);"],
    ["length", "src/keys/a.ts", long(301)],
    ["length", "src/start/service.ts", long(201)],
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
    [
      "a door that imports a room and generated code",
      "src/rpc/handlers/a.ts",
      'import "../../keys/key.ts"; import "../../gen/a.ts";',
    ],
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
