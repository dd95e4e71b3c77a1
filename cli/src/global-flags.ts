import { usage } from "./faults.ts";
import { dashed, duration, type Flags, text, yes } from "./flags.ts";
import type { GlobalFlags } from "./settings.ts";
import { msOf } from "./times.ts";

/** The flags of every verb. They may stand anywhere on the command line. */
export const GLOBAL_FLAGS: Flags = {
  address: text("URL", "the service, such as http://127.0.0.1:8080"),
  credentialFile: text("FILE", "a file that has a service credential"),
  profile: text("NAME", "the profile to take the rest from"),
  timeout: duration("the longest time for one call; 10s"),
  json: yes("print the answer as JSON; lists with all pages"),
  jsonl: yes("print JSON, one line for each item"),
  quiet: yes("print the new secret alone, else the id"),
  yes: yes("answer yes to every question"),
};

const LEAST_TIMEOUT_MS = 1000;
const MOST_TIMEOUT_MS = 600_000;

/** @throws Fault for flags that exclude each other, or a value that is wrong */
export function globalFlagsOf(given: Readonly<Record<string, unknown>>): GlobalFlags {
  const formats = (["json", "jsonl", "quiet"] as const).filter((name) => given[name] === true);
  if (formats.length > 1) throw usage(`--${formats.join(" and --")} exclude each other`);
  return {
    address: once("address", given),
    credentialFile: once("credentialFile", given),
    profile: once("profile", given),
    timeoutMs: timeoutOf(once("timeout", given)),
    format: formats[0] ?? "people",
    yes: given.yes === true,
  };
}

function once(name: string, given: Readonly<Record<string, unknown>>): string | undefined {
  const texts = given[name] as readonly string[] | undefined;
  if (texts === undefined || (texts.length === 1 && texts[0] !== "")) return texts?.[0];
  throw usage(`${dashed(name)} must be given once, with a value`);
}

function timeoutOf(given: string | undefined): number | undefined {
  if (given === undefined) return undefined;
  const reading = GLOBAL_FLAGS.timeout!.read([given], 0);
  const ms = "value" in reading ? msOf(reading.value as Parameters<typeof msOf>[0]) : Number.NaN;
  if (ms >= LEAST_TIMEOUT_MS && ms <= MOST_TIMEOUT_MS) return ms;
  throw usage("--timeout must be a time from 1s to 10m, such as 30s");
}
