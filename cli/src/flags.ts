import { type Duration, durationFromMs, type Timestamp, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { usage } from "./faults.ts";
import { readDuration, readTime } from "./times.ts";

/** Reads a flag's text. Returns the value, or what the flag must be, which never repeats the text. */
export type Reading<T> = { readonly value: T } | { readonly must: string };

/** A flag of a verb: what help and completion say of it, and how its text is read. */
export interface Flag<T> {
  /** The word for its value in the help, such as "USER"; undefined for a flag without a value. */
  readonly placeholder: string | undefined;
  readonly about: string;
  /** The values that completion offers. Others may be valid. */
  readonly choices: readonly string[];
  readonly isRequired: boolean;
  /** @param texts each value that was given, at least one */
  read(texts: readonly string[], nowMs: number): Reading<T>;
}

/** Name in camel case -> flag. `--show-ended` on the command line is `showEnded` here. */
export type Flags = Readonly<Record<string, Flag<unknown>>>;

/** The values of flags that were given. */
export type Values<F extends Flags> = {
  readonly [N in keyof F]: F[N] extends Required<infer T> ? T : F[N] extends Flag<infer T> ? T | undefined : never;
};

/** A flag's name as it is typed: `showEnded` is `--show-ended`. */
export function dashed(name: string): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** Without the flags that were not given: a field that is absent and one that is empty differ. */
export function given<T extends object>(flags: T): { [N in keyof T]?: Exclude<T[N], undefined> } {
  return Object.fromEntries(Object.entries(flags).filter(([, value]) => value !== undefined)) as ReturnType<
    typeof given<T>
  >;
}

/** The paths of a field mask: the names of these fields as the contract spells them. */
export function pathsOf(fields: object): string[] {
  return Object.keys(fields).map((name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`));
}

/**
 * The field mask of an update.
 *
 * @param line the command as help names it, such as `keys update`
 * @throws Fault if nothing would change
 */
export function updateMaskOf(paths: readonly string[], line: string): { readonly paths: string[] } {
  if (paths.length > 0) return { paths: [...paths] };
  throw usage(`nothing to change: give a flag for each field; see: latchkey ${line} --help`);
}

/** A flag without which the verb does nothing. */
export interface Required<T> extends Flag<T> {
  readonly isRequired: true;
}

export function required<T>(flag: Flag<T>): Required<T> {
  return { ...flag, isRequired: true };
}

/** A flag without a value. */
export function yes(about: string): Flag<boolean> {
  return { placeholder: undefined, about, choices: [], isRequired: false, read: () => ({ value: true }) };
}

/** Free text. The service judges it. */
export function text(placeholder: string, about: string, choices: readonly string[] = []): Flag<string> {
  return single(placeholder, about, (given) => ({ value: given }), choices);
}

/** One of a few words. */
export function choice<const C extends string>(about: string, choices: readonly C[]): Flag<C> {
  const must = `be one of ${choices.join(", ")}`;
  const read = (given: string): Reading<C> => {
    const value = choices.find((one) => one === given);
    return value === undefined ? { must } : { value };
  };
  return single(choices.join("|"), about, read, choices);
}

/** Texts with commas between them. The flag may be given several times. An empty text is an empty list. */
export function list(placeholder: string, about: string, choices: readonly string[] = []): Flag<string[]> {
  const read = (given: readonly string[]): Reading<string[]> => {
    const value = given.flatMap((one) => one.split(",")).map((one) => one.trim());
    return { value: value.filter((one) => one !== "") };
  };
  return { placeholder, about, choices, isRequired: false, read };
}

/** Pairs such as `team=payments,cost-centre=7`. A value can't have a comma, unless the flag is given for each pair. */
export function pairs(placeholder: string, about: string): Flag<Record<string, string>> {
  const read = (given: readonly string[]): Reading<Record<string, string>> => {
    const parts = given.length > 1 ? given : given.flatMap((one) => one.split(",")).filter((one) => one !== "");
    if (parts.some((part) => part.indexOf("=") < 1)) return { must: "be pairs of the form name=value" };
    return { value: Object.fromEntries(parts.map((part) => split(part))) };
  };
  return { placeholder, about, choices: [], isRequired: false, read };
}

/** A whole number from `least` up to the largest of an int32. */
export function count(about: string, least = 0): Flag<number> {
  const most = 2 ** 31 - 1;
  const read = (given: string): Reading<number> => {
    const value = /^\d{1,10}$/.test(given) ? Number(given) : Number.NaN;
    return value >= least && value <= most ? { value } : { must: `be a whole number of at least ${least}` };
  };
  return single("N", about, read);
}

/** A length of time. */
export function duration(about: string): Flag<Duration> {
  return single("DURATION", about, (given): Reading<Duration> => {
    const ms = readDuration(given);
    return ms === undefined ? { must: "be a time such as 90s, 15m, 12h or 30d" } : { value: durationFromMs(ms) };
  });
}

/** A moment: from now, as a duration, or as RFC 3339. `direction` -1 is for flags about the past. */
export function moment(about: string, direction: 1 | -1 = 1): Flag<Timestamp> {
  return single("WHEN", about, (given, nowMs): Reading<Timestamp> => {
    const fromNowMs = readDuration(given);
    const ms = fromNowMs === undefined ? readTime(given) : nowMs + direction * fromNowMs;
    if (ms === undefined) return { must: "be a time such as 12h, 30d, 2027-01-31 or 2027-01-31T12:00:00Z" };
    return { value: timestampFromMs(ms) };
  });
}

function single<T>(
  placeholder: string,
  about: string,
  read: (given: string, nowMs: number) => Reading<T>,
  choices: readonly string[] = [],
): Flag<T> {
  return {
    ...{ placeholder, about, choices, isRequired: false },
    read: (texts, nowMs) => (texts.length === 1 ? read(texts[0]!, nowMs) : { must: "be given once" }),
  };
}

function split(pair: string): [string, string] {
  const at = pair.indexOf("=");
  return [pair.slice(0, at).trim(), pair.slice(at + 1)];
}
