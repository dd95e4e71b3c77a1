/** Clients that verify keys near. */
import { setTimeout as pause } from "node:timers/promises";
import { type Cast, type KnownKey, type KnownSecret, SCOPES } from "./cast.ts";
import { nowMs, type Outcome } from "./history.ts";
import type { NearClients, NearSaid } from "./near.ts";

/** Pause after a call without a verdict. */
const REST_MS = 100;

interface ShownNear {
  readonly key: KnownKey;
  readonly secret: KnownSecret;
  readonly scope: string;
}

/** Verifies keys at any client until `isOver`: mostly new keys, so that a client has seen a key before it changes. */
export async function verifyNear(cast: Cast, near: NearClients, isOver: () => boolean): Promise<void> {
  const { random, keys } = cast;
  while (!isOver()) {
    const key = random.pick(random.chance(0.8) ? keys.slice(-20) : keys);
    // A client that counts after the verdict keeps no exact window.
    if (key.limit !== undefined) {
      await pause(1);
      continue;
    }
    const secret = random.chance(0.8) ? key.secrets.at(-1)! : random.pick(key.secrets);
    const scope = random.chance(0.3) ? random.pick(SCOPES) : "";
    const process = random.whole(0, near.links.length - 1);
    const verdict = await verifyAt(cast, near, process, { key, secret, scope });
    await pause(verdict === undefined ? REST_MS : random.between(5, 40));
  }
}

/** Makes and records one verdict of the near client of a process. @returns it; undefined if there was none */
export async function verifyAt(
  { recorder }: Pick<Cast, "recorder">,
  near: NearClients,
  process: number,
  { key, secret, scope }: ShownNear,
): Promise<string | undefined> {
  const startedMs = nowMs();
  const { judged, error = "" } = await near.verify(process, secret.raw, scope);
  const outcome: Outcome = judged ? { kind: "ok" } : { kind: "error", code: codeOf(error), reason: error };
  const base = { call: "near", process, keyId: key.id, secret: secret.name, scope } as const;
  recorder.add({ ...base, startedMs, endedMs: nowMs(), outcome, ...judged });
  return judged?.verdict;
}

function codeOf(error: NearSaid["error"]): "Unavailable" | "Internal" {
  return error === "LatchkeyUnavailable" ? "Unavailable" : "Internal";
}
