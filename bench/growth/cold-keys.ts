/** VerifyKey of keys that the service has not in memory, so that each call is a read of PostgreSQL. */
import type pg from "pg";
import { KeyService, Verdict } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { rpcOf, type Times, timesOf } from "./calls.ts";
import { withPostgresCpu } from "./postgres-cpu.ts";
import type { GrownService, KnownKey } from "./service.ts";

export interface ColdKeys {
  readonly name: string;
  readonly times: Times;
  /** CPU time of PostgreSQL for one call; undefined if it runs elsewhere. */
  readonly postgresUs: number | undefined;
}

/** Verifies half of the keys one after another, and half of them 16 at a time. */
export async function measureColdKeys(
  client: pg.Client,
  { port, admin }: GrownService,
  keys: readonly KnownKey[],
): Promise<readonly ColdKeys[]> {
  const rpcs = keys.map(({ raw }) =>
    rpcOf(KeyService.method.verifyKey, admin, { apiKey: raw }, ({ verdict }) => {
      if (verdict !== Verdict.VALID) throw new Error(`a good key has the verdict ${verdict}`);
    }),
  );
  const half = Math.floor(rpcs.length / 2);
  const measure = async (name: string, part: typeof rpcs, concurrency: number) => {
    const [times, postgresUs] = await withPostgresCpu(client, part.length, () => timesOf(port, part, concurrency));
    return { name, times, postgresUs };
  };
  return [
    await measure("VerifyKey, cold, one after another", rpcs.slice(0, half), 1),
    await measure("VerifyKey, cold, 16 at a time", rpcs.slice(half), 16),
  ];
}
