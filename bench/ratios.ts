import type { CachedKeys } from "./cached-keys.ts";
import type { ClientFigures } from "./client-calls.ts";
import { CLIENT } from "./clients/candidates.ts";
import type { KeptKeys } from "./kept-keys.ts";
import type { DecisionCost } from "./limiter.ts";
import type { Figures } from "./measure.ts";
import { median, quotients, type Rounds, spread } from "./rounds.ts";
import { FLOOR } from "./rows.ts";

/** The ratio of two figures of one run, as the median of its rounds. Only ratios compare between machines and days. */
export interface Ratio {
  readonly name: string;
  readonly value: number;
  readonly spread: number;
}

/** The ratios that show whether VerifyKey is cheap, without those whose rows were not run. */
export function ratiosOf(
  rows: readonly Figures[],
  limiter: readonly DecisionCost[],
  cachedKeys: readonly CachedKeys[],
): readonly Ratio[] {
  const find = (...parts: readonly string[]) => rows.filter(({ name }) => parts.every((part) => name.includes(part)));
  const [floor] = find(FLOOR);
  const [connectNode] = find("connect-node no-op");
  const [grpcJs] = find("grpc-js no-op");
  // The row with PostgreSQL, if this machine has it. The embedded database runs in the process that is measured.
  const cached = find("VerifyKey, cached, no limits").at(-1);
  const [cachedEmbedded] = find("VerifyKey, cached, no limits");
  const [local] = find("VerifyKey, cached, minute + day in process");
  const [redis] = find("VerifyKey, cached, minute + day in Redis");
  const batch = find("BatchVerifyKeys", "no limits").at(-1);
  const [few, many] = [cachedKeys.at(0), cachedKeys.at(-1)];
  const [ours, theirs] = limiter;
  const us = (row: Figures | undefined) => row?.serverUsRounds;
  return [
    ratio("CPU: cached VerifyKey / bare no-op", us(cached), us(floor)),
    ratio("CPU: connect-node no-op / cached VerifyKey", us(connectNode), us(cached)),
    ratio("CPU: grpc-js no-op / cached VerifyKey", us(grpcJs), us(cached)),
    ratio("CPU: with limits in process / without limits", us(local), us(cachedEmbedded)),
    ratio("CPU: with limits in Redis / without limits", us(redis), us(cached)),
    ratio("CPU: cached VerifyKey / one key of a batch", us(cached), us(batch)),
    ratio("CPU of Redis: limiter's script / 2 INCR + EXPIRE", ours?.redisUsRounds, theirs?.redisUsRounds),
    ...(floor?.latencies ?? []).flatMap(({ rate, p99MsRounds }) => {
      const at = (row: Figures | undefined) => row?.latencies.find((latency) => latency.rate === rate)?.p99MsRounds;
      const when = `p99 at ${rate} calls/s`;
      return [
        ratio(`${when}: cached VerifyKey / bare no-op`, at(cached), p99MsRounds),
        ratio(`${when}: with limits in Redis / bare no-op`, at(redis), p99MsRounds),
      ];
    }),
    ratio("a hit among the most keys / among the fewest", many && [many.hitUs], few && [few.hitUs]),
  ].flatMap((made) => made ?? []);
}

/** The cost of single calls, and of what users write instead, in that of our client. */
export function clientRatios(clients: readonly ClientFigures[], keptKeys: readonly KeptKeys[]): readonly Ratio[] {
  const find = (name: string) => clients.find((one) => one.name === name);
  const ours = find(CLIENT.groupCommit);
  const [near, ttl] = keptKeys;
  const others = [CLIENT.single, CLIENT.connectNode, CLIENT.grpcJs];
  return [
    ...others.map((name) =>
      ratio(`CPU of the ${name} / group commit`, find(name)?.clientUsRounds, ours?.clientUsRounds),
    ),
    ...others.map((name) =>
      ratio(`CPU of the service, ${name} / group commit`, find(name)?.serviceUsRounds, ours?.serviceUsRounds),
    ),
    ratio("CPU of a verdict: near verification / a hit of lru-cache", near && [near.hitUs], ttl && [ttl.hitUs]),
    ratio("heap of a key: lru-cache / near verification", ttl && [ttl.heapBytes], near && [near.heapBytes]),
  ].flatMap((made) => made ?? []);
}

function ratio(name: string, above: Rounds | undefined, below: Rounds | undefined): Ratio | undefined {
  const values = quotients(above ?? [], below ?? []);
  return values.length === 0 ? undefined : { name, value: median(values), spread: spread(values) };
}
