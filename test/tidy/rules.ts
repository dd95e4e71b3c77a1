/** The rules that the tables of the house stand for. */
import { dirname, join, normalize } from "node:path";
import type { SourceFile } from "../support/source-file.ts";
import {
  DOORS,
  FLOORS,
  HOMES,
  LONG,
  MOST_FUNCTION_LINES,
  MOST_LINES,
  MOST_SERVICE_LINES,
  NO_NAMES,
  OWNERS,
  READING,
  WRITERS,
} from "./tables.ts";

/** Everything that breaks a rule in a tree of sources, one line each. */
export function faultsOf(files: readonly SourceFile[]): string[] {
  const ours = files.filter((file) => file.path.startsWith("src/") && roomOf(file.path) !== "gen");
  return [
    ...ours.flatMap(floorFaults),
    ...ours.flatMap(packageFaults),
    ...ours.flatMap(doorFaults),
    ...ours.flatMap(storeFaults),
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
    .filter((target) => target !== room && !allowed.includes("*") && !allowed.includes(target))
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
      return OWNERS[owner]!.includes(folderOf(file.path)) ? [] : [`packages: ${file.path} imports ${source}`];
    });
}

function doorFaults(file: SourceFile): string[] {
  return file.imports
    .filter((source) => DOORS[source] !== undefined && !DOORS[source].includes(file.path))
    .map((source) => `doors: ${file.path} imports ${source}`);
}

/** A store of PostgreSQL imports rows, never another store: shared statements are rows. */
function storeFaults(file: SourceFile): string[] {
  const isStore = /^src\/postgres\/.*-store\.ts$/;
  if (!isStore.test(file.path)) return [];
  return targetsOf(file)
    .filter((target) => isStore.test(target))
    .map((target) => `stores: ${file.path} imports ${target}`);
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

/** An unhandled rejection ends the process: `Promise.all` and `Promise.allSettled` listen to all promises at once. */
function promiseFaults({ path, promiseLists }: SourceFile): string[] {
  return promiseLists.map((name) => `promises: ${path} waits one by one for those of ${name}`);
}

/** The one place where things are connected must stay one that can be read. */
export function mostLines(file: SourceFile): number {
  return file.path === "src/start/service.ts" ? MOST_SERVICE_LINES : MOST_LINES;
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

/**
 * The room of a file: the file itself, or else the innermost folder around it, that has a row in FLOORS. A file of src/
 * is `main.ts`, and what is outside of src/ is in `..`.
 */
export function roomOf(path: string): string {
  const [top, ...names] = path.split("/");
  if (top !== "src") return "..";
  for (let depth = names.length; depth > 0; depth--) {
    const room = names.slice(0, depth).join("/");
    if (room in FLOORS) return room;
  }
  return names.join("/");
}

/** The folder of src/ that a file is in, or its name. */
function folderOf(path: string): string {
  const [top, folder] = path.split("/");
  return top === "src" && folder !== undefined ? folder : "..";
}

export function targetsOf(file: SourceFile): string[] {
  return file.imports
    .filter((source) => source.startsWith("."))
    .map((source) => normalize(join(dirname(file.path), source)));
}
