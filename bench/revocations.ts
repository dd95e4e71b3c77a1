/** The time from a revocation's answer to the first refusal, on two real processes with one PostgreSQL. */
import { setTimeout as pause } from "node:timers/promises";
import { createLatchkey, type Latchkey } from "../client/src/latchkey.ts";
import { KeyService, Verdict } from "../src/gen/latchkey/v1/key_service_pb.ts";
import { clientOf } from "../test/support/clients.ts";
import { startFleet } from "../test/support/fleet.ts";
import { startPostgres } from "../test/support/own-postgres.ts";

/** Where a revoked key is presented, and how long each refusal took. */
export interface Propagation {
  readonly name: string;
  readonly tookMs: readonly number[];
}

/** A place that keeps records of keys. */
interface Place {
  readonly name: string;
  /** Whether the place accepts the key now. @throws Error unless the verdict is VALID or REVOKED */
  accepts(apiKey: string): boolean | Promise<boolean>;
}

/** Maximum pause before a revocation: so it comes at any moment of a process, also while its streams rest (100 ms). */
const MOST_PAUSE_MS = 200;
/** The time between two questions at one place, so that the questions leave the processors to the processes. */
const EVERY_MS = 1;
/** The bound that the service promises. A later refusal is a fault. */
const BOUND_MS = 5_000;

/**
 * Revokes keys one after the other, by the first process, and asks at each place until it refuses. A time includes the
 * call that was refused, and the revoked key is in memory at each place before.
 *
 * @throws Error if the first process accepts a key after it answered the revocation, or a place does so after BOUND_MS
 */
export async function measureRevocations(
  times: number,
  progress: (line: string) => void,
): Promise<readonly Propagation[]> {
  await using postgres = await startPostgres();
  const settings = {
    DATABASE_URL: postgres.url(),
    LATCHKEY_KEYS_PER_OWNER: `${times}`,
    LATCHKEY_TIERS: "basic:-/-",
  };
  await using fleet = await startFleet(settings, [{}, {}]);
  const [first, second] = fleet.processes.map(({ address }) => address) as [string, string];
  const { verifier, ownerToken } = await fleet.cast();
  await using latchkey = createLatchkey({ baseUrl: `http://${second}`, credential: verifier, near: true });
  await latchkey.ready();
  const atFirst = calls("the process that revoked", first, verifier);
  const places = [near(latchkey), calls("at a second process of the service", second, verifier)];
  const owner = clientOf(first, KeyService, ownerToken);
  const took = places.map(({ name }) => ({ name, tookMs: [] as number[] }));
  for (let n = 1; n <= times; n++) {
    const { key, apiKey } = await owner.issueKey({ name: `key ${n}` });
    for (const place of [atFirst, ...places]) await hot(place, apiKey);
    await pause(Math.random() * MOST_PAUSE_MS);
    await owner.revokeKey({ keyId: key!.id });
    const answeredMs = performance.now();
    const refused = places.map(async (place, at) => {
      took[at]!.tookMs.push(await refusal(place, apiKey, answeredMs));
    });
    await Promise.all(refused);
    if (await atFirst.accepts(apiKey)) throw new Error("the process that revoked the key accepts it");
    if (n % 100 === 0) progress(`${n} of ${times} revocations`);
  }
  return took;
}

/** Presents the key, so that the place has it in memory. */
async function hot(place: Place, apiKey: string): Promise<void> {
  if (!(await place.accepts(apiKey))) throw new Error(`${place.name} refuses a new key`);
}

async function refusal(place: Place, apiKey: string, sinceMs: number): Promise<number> {
  while (await place.accepts(apiKey)) {
    if (performance.now() - sinceMs > BOUND_MS) throw new Error(`${place.name} accepts a key ${BOUND_MS} ms later`);
    await pause(EVERY_MS);
  }
  return performance.now() - sinceMs;
}

/** A client of the second process that judges keys itself. It makes a call only where it has no record. */
function near(latchkey: Latchkey): Place {
  return {
    name: "near, in a client of the second process",
    async accepts(apiKey) {
      const { valid, verdict } = latchkey.verifySync({ apiKey }) ?? (await latchkey.verify({ apiKey }));
      if (!valid && verdict !== "REVOKED") throw new Error(`verdict ${verdict} near`);
      return valid;
    },
  };
}

function calls(name: string, address: string, credential: string): Place {
  const client = clientOf(address, KeyService, credential);
  return {
    name,
    async accepts(apiKey) {
      const { verdict } = await client.verifyKey({ apiKey, cost: 0 });
      if (verdict !== Verdict.VALID && verdict !== Verdict.REVOKED) throw new Error(`verdict ${verdict} ${name}`);
      return verdict === Verdict.VALID;
    },
  };
}
