/** A service on the data set: its operator, keys whose secrets are known, and the time of its start. */
import type pg from "pg";
import { newSecret } from "../../src/keys/key-secret.ts";
import { KeyRing } from "../../src/lib/key-ring.ts";
import {
  bootstrapOperator,
  type ReadyService,
  serviceEnvironment,
  startService,
} from "../../test/support/spawned-service.ts";
import { startCommand } from "../../test/support/start-command.ts";
import { median } from "../rounds.ts";

/** A running service, and what callers need. */
export interface GrownService extends AsyncDisposable {
  readonly port: number;
  readonly env: NodeJS.ProcessEnv;
  readonly ring: KeyRing;
  readonly admin: string;
  readonly credentialId: string;
  /** Seconds from the start of the process until it is ready, the median of STARTS. */
  readonly startSeconds: number;
}

const STARTS = 3;
const FORMAT = { prefix: "kit", environments: ["live", "test"] };

/** The secrets that the first service on a database learns. */
export interface Secrets {
  readonly masterKey: Buffer;
  /** The first operator's credential; undefined until there is one. */
  readonly admin: string | undefined;
}

/** Starts the service STARTS times; the last one stays. */
export async function startGrown(url: string, { masterKey, admin: known }: Secrets): Promise<GrownService> {
  const env = serviceEnvironment({ DATABASE_URL: url, LATCHKEY_MASTER_KEYS: `1:${masterKey.toString("base64")}` });
  const admin = known ?? (await bootstrapOperator(env));
  const seconds: number[] = [];
  let service: ReadyService | undefined;
  for (let start = 1; start <= STARTS; start++) {
    await service?.stop();
    const startMs = performance.now();
    service = await startService(env, startCommand().flags);
    seconds.push((performance.now() - startMs) / 1000);
  }
  const last = service!;
  return {
    port: Number(last.address.split(":").at(-1)),
    env,
    ring: new KeyRing([{ version: 1, bytes: masterKey }]),
    admin,
    credentialId: `svc_${admin.split("_")[2]!.slice(0, 16)}`,
    startSeconds: median(seconds),
    [Symbol.asyncDispose]: () => last.stop(),
  };
}

/** A key of the data set, with a secret that this process knows. */
export interface KnownKey {
  readonly id: string;
  readonly raw: string;
}

/** Gives good keys, spread over the whole table, secrets that this process knows. */
export async function knownKeys(client: pg.Client, ring: KeyRing, keys: number, wanted: number): Promise<KnownKey[]> {
  const numbers = Array.from({ length: Math.ceil(wanted * 1.5) }, () => Math.floor(Math.random() * keys));
  const { rows } = await client.query(
    `select k.id, k.environment from unnest($1::bigint[]) n join api_keys k on k.id = growth.id('key', n)
     join users o on o.id = k.owner_id
     where k.state = 'active' and k.expires_at is null and k.allowed_ips = '{}' and o.state = 'active' group by k.id limit $2`,
    [numbers, wanted],
  );
  const known = rows.map(({ id, environment }) => {
    const { rawKey, secret } = newSecret(ring, FORMAT, environment, id);
    return { id: id as string, raw: rawKey, digest: secret.digest };
  });
  await client.query(
    `update key_secrets s set digest = k.digest from unnest($1::text[], $2::bytea[]) as k (id, digest)
     where s.key_id = k.id and s.expires_at is null`,
    [known.map(({ id }) => id), known.map(({ digest }) => digest)],
  );
  return known.map(({ id, raw }) => ({ id, raw }));
}
