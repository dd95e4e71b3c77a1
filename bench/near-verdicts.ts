/** The cost of a verdict without a call: by the near cache, by a cache with a ttl, and of the digest alone. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Rounds } from "./rounds.ts";

/** One way to a verdict from memory. */
export interface NearVerdicts {
  readonly name: string;
  /** Heap of a kept key, with its own owner; undefined if the row keeps none. */
  readonly heapBytes: number | undefined;
  /**
   * Time of a verdict on one core, in the quickest round, because time that other processes take is no cost of ours.
   * The keys come in random order.
   */
  readonly us: number;
  readonly usRounds: Rounds;
}

/** The names of the rows. */
export const NEAR = {
  near: "near verdict",
  ttlCache: "lru-cache by raw key, ttl: no scopes, no revocation",
  digest: "SHA-256 of a key alone",
  hmac: "HMAC of a key alone",
};

const run = promisify(execFile);

/** Measures all rows in turns, in one process of its own. @param keys number of hot keys */
export async function measureNearVerdicts(
  keys: number,
  progress: (line: string) => void,
): Promise<readonly NearVerdicts[]> {
  progress(`near verdicts of ${keys.toLocaleString("en-US")} keys`);
  const script = join(import.meta.dirname, "servers/near-verdicts.ts");
  const { stdout } = await run(process.execPath, ["--expose-gc", "--max-old-space-size=4096", script, `${keys}`]);
  const { nearBytes, cachedBytes, rounds } = JSON.parse(stdout) as {
    readonly nearBytes: number;
    readonly cachedBytes: number;
    readonly rounds: Readonly<Record<keyof typeof NEAR, readonly number[]>>;
  };
  const row = (way: keyof typeof NEAR, heapBytes: number | undefined): NearVerdicts => {
    const usRounds = rounds[way];
    return { name: NEAR[way], heapBytes, us: Math.min(...usRounds), usRounds };
  };
  return [row("near", nearBytes), row("ttlCache", cachedBytes), row("digest", undefined), row("hmac", undefined)];
}
