import { hash } from "node:crypto";
import type { Epoch } from "./change-store.ts";

/**
 * The number by which clients know an epoch: a hash of the database's history and of the settings that verdicts rest
 * on. An answer of a process with other settings, as in a rolling restart, has another number. 64 bits suffice, because
 * epochs only have to differ from each other, and no client chooses them.
 *
 * @param settings as text; the same on every process with the same settings
 * @returns never 0, which means "not known"
 */
export function epochNumber({ systemId, timeline, incarnation }: Epoch, settings: string): bigint {
  const digest = hash("sha256", JSON.stringify([systemId, timeline, incarnation, settings]), "buffer");
  const number = digest.readBigUInt64LE();
  return number === 0n ? 1n : number;
}
