/** The keys, people and limits of a run, as its clients know them. */
import type { Client } from "@connectrpc/connect";
import type { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import type { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import type { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { SeededRandom } from "../simulation/random.ts";
import { called, type Recorder } from "./recorder.ts";
import type { World } from "./world.ts";

export interface KnownSecret {
  /** `<key id> <number>`. The raw key is never recorded. */
  readonly name: string;
  readonly raw: string;
}

export interface KnownKey {
  readonly id: string;
  readonly ownerId: string;
  /** The key's limit of calls a minute; undefined for a limit that no run reaches. */
  readonly limit: number | undefined;
  readonly secrets: KnownSecret[];
  /** True if the clients know that the key has ended. */
  isEnded: boolean;
}

/** Clients of one process. */
export interface Clients {
  readonly process: number;
  readonly verifier: Client<typeof KeyService>;
  readonly manager: Client<typeof KeyService>;
  readonly operator: Client<typeof AdminService>;
  readonly people: Client<typeof AuthService>;
}

export interface Cast {
  readonly clients: readonly Clients[];
  /** The credential with scope `verify`. */
  readonly verifier: string;
  readonly owners: readonly string[];
  readonly keys: KnownKey[];
  readonly recorder: Recorder;
  readonly random: SeededRandom;
}

export const SCOPES = ["read", "write"];
/** A limit a minute that the calls of a run exceed. */
export const SMALL_LIMIT = 4;
const NO_LIMIT = 1_000_000;
const OWNERS = 3;
const FIRST_KEYS = 18;
const LIMITED_KEYS = 3;
export const CALL_MS = 2000;

/** Makes the people, credentials and keys before any fault. */
export async function makeCast(world: World, recorder: Recorder, seed: number): Promise<Cast> {
  const operator = world.nodes[0]!.administration(world.admin);
  const { secret: verifier } = await operator.issueServiceCredential({ name: "verifier", scopes: ["verify"] });
  const owners: string[] = [];
  for (let n = 0; n < OWNERS; n++) {
    const { user } = await operator.createUser({ email: `owner-${n}@example.com`, scopes: ["*"] });
    owners.push(user!.id);
  }
  const clients = world.nodes.map((node) => ({
    process: node.index,
    verifier: node.keys(verifier),
    manager: node.keys(world.admin),
    operator: node.administration(world.admin),
    people: node.people(),
  }));
  const cast: Cast = { clients, verifier, owners, keys: [], recorder, random: new SeededRandom(seed) };
  for (let n = 0; n < FIRST_KEYS; n++) await issue(cast, clients[n % clients.length]!);
  for (let n = 0; n < LIMITED_KEYS; n++) await issue(cast, clients[n % clients.length]!, SMALL_LIMIT);
  world.near.start(verifier);
  await world.near.ready();
  return cast;
}

let names = 0;

/** Issues a key. If the answer is lost, it calls once more with the same request_id. */
export async function issue(cast: Cast, clients: Clients, limit?: number): Promise<KnownKey | undefined> {
  const { recorder, random, owners } = cast;
  const ownerId = random.pick(owners);
  const request = {
    name: `key ${++names}`,
    ownerId,
    scopes: SCOPES,
    limits: { perMinute: limit ?? NO_LIMIT, perDay: NO_LIMIT },
    requestId: crypto.randomUUID(),
  };
  for (let attempt = 1; attempt <= 2; attempt++) {
    const { answer, ...times } = await called(clients.process, () =>
      clients.manager.issueKey(request, { timeoutMs: CALL_MS }),
    );
    const id = answer?.key?.id;
    if (id === undefined) {
      recorder.add({ call: "issue", subject: request.name, ownerId, ...times });
      continue;
    }
    const secret = { name: `${id} 1`, raw: answer!.apiKey };
    recorder.add({ call: "issue", subject: id, ownerId, secret: secret.name, ...times });
    const key = { id, ownerId, limit, secrets: [secret], isEnded: false };
    cast.keys.push(key);
    return key;
  }
  return undefined;
}
