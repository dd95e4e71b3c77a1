import { dashed, type Flags } from "../flags.ts";
import { GLOBAL_FLAGS } from "../global-flags.ts";
import type { Noun, Verb } from "../verb.ts";

/** A flag as completion sees it. */
export interface FlagWord {
  /** With its dashes. */
  readonly name: string;
  readonly about: string;
  readonly takesValue: boolean;
  readonly takesFile: boolean;
  readonly choices: readonly string[];
}

/** A line of commands, such as `latchkey keys issue`, and what may follow it. */
export interface CommandLine {
  readonly line: string;
  readonly commands: readonly { readonly name: string; readonly about: string }[];
  /** Without the flags of every verb. */
  readonly flags: readonly FlagWord[];
  /** The values of the first argument. */
  readonly values: readonly string[];
}

/** Everything that can be completed. It is the same for every user: nothing of it comes from a service or a file. */
export interface CommandTree {
  readonly lines: readonly CommandLine[];
  readonly globalFlags: readonly FlagWord[];
  /** The names of all flags that take a value. A name does so in each verb that has it, or in none. */
  readonly valued: readonly string[];
}

const HELP: FlagWord = {
  ...{ name: "--help", about: "show the help", takesValue: false, takesFile: false, choices: [] },
};

export function commandTree(nouns: readonly (Noun | Verb)[]): CommandTree {
  const root = { line: "latchkey", commands: namesOf(nouns), flags: [], values: [] };
  const lines = [root, ...nouns.flatMap((entry) => linesOf(entry))];
  const globalFlags = [...flagWords(GLOBAL_FLAGS), HELP];
  const all = [...globalFlags, ...lines.flatMap(({ flags }) => flags)];
  const valued = [...new Set(all.filter(({ takesValue }) => takesValue).map(({ name }) => name))];
  return { lines, globalFlags, valued };
}

/** Words in single quotes, for bash, zsh and fish alike. None of the words has a quote or a backslash. */
export function quoted(...words: readonly string[]): string {
  return words.map((word) => `'${word.replaceAll(/['\\]/g, "’")}'`).join(" ");
}

function linesOf(entry: Noun | Verb): readonly CommandLine[] {
  const line = `latchkey ${entry.name}`;
  if (!("verbs" in entry)) return [lineOf(line, entry)];
  const own = { line, commands: namesOf(entry.verbs), flags: [], values: [] };
  return [own, ...entry.verbs.map((verb) => lineOf(`${line} ${verb.name}`, verb))];
}

function lineOf(line: string, { flags, args }: Verb): CommandLine {
  return { line, commands: [], flags: flagWords(flags), values: args?.[0]?.choices ?? [] };
}

function namesOf(entries: readonly (Noun | Verb)[]): CommandLine["commands"] {
  return entries.map(({ name, about }) => ({ name, about }));
}

function flagWords(flags: Flags): FlagWord[] {
  return Object.entries(flags).map(([name, { about, placeholder, choices }]) => ({
    ...{ name: dashed(name), about, choices },
    takesValue: placeholder !== undefined,
    takesFile: placeholder === "FILE",
  }));
}
