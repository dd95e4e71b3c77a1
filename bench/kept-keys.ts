/** The cost of a key that a client keeps: its memory, and the time of a verdict without a call. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";

/** One way to keep keys. */
export interface KeptKeys {
  readonly name: string;
  readonly keys: number;
  /** JavaScript's heap and the buffers outside of it, for each key. */
  readonly heapBytes: number;
  /** CPU time of a verdict, from the raw key, as it comes from a socket. The keys come in random order. */
  readonly hitUs: number;
}

/** The keepers of clients/kept-keys.ts, by their names in the table. */
export const KEPT = { near: "near verification", ttl: "lru-cache of VerifyKeyResponse" };

const run = promisify(execFile);

/** Measures each way in a process of its own, so that no heap influences another. */
export async function measureKeptKeys(keys: number, progress: (line: string) => void): Promise<readonly KeptKeys[]> {
  const all: KeptKeys[] = [];
  for (const [keeper, name] of Object.entries(KEPT)) {
    progress(`${keys.toLocaleString("en-US")} keys in a client: ${name}`);
    const script = join(import.meta.dirname, "clients/kept-keys.ts");
    const { stdout } = await run(process.execPath, ["--expose-gc", script, keeper, `${keys}`]);
    all.push({ name, keys, ...(JSON.parse(stdout) as Omit<KeptKeys, "name" | "keys">) });
  }
  return all;
}
