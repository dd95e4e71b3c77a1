/** The cost of a key in memory: heap, and the time to find its record, from a thousand keys to a million. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";

/** One size of the cache. */
export interface CachedKeys {
  readonly keys: number;
  /** For each key: its record, its places in the indexes, and its bytes for the wire. Each key has its own owner. */
  readonly heapBytes: number;
  /** Time to find the fresh record of a raw key, its digest included. The keys come in random order. */
  readonly hitUs: number;
}

const run = promisify(execFile);

/** Measures each size in a process of its own, so that no heap influences another. */
export async function measureCachedKeys(
  sizes: readonly number[],
  progress: (line: string) => void,
): Promise<readonly CachedKeys[]> {
  const all: CachedKeys[] = [];
  for (const keys of sizes) {
    progress(`${keys.toLocaleString("en-US")} keys in memory`);
    const script = join(import.meta.dirname, "servers/cached-keys.ts");
    const { stdout } = await run(process.execPath, ["--expose-gc", "--max-old-space-size=6144", script, `${keys}`]);
    all.push({ keys, ...(JSON.parse(stdout) as Omit<CachedKeys, "keys">) });
  }
  return all;
}
