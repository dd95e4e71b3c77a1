import { readFileSync } from "node:fs";

/** The service's version, from its package.json. */
export function serviceVersion(): string {
  return JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")).version;
}
