/** Clients that verify keys and change them. */
import { setTimeout as pause } from "node:timers/promises";
import { timestampDate, timestampMs } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import {
  type BatchVerifyKeysResult,
  VerdictSchema,
  type VerifyKeyResponse,
} from "../../src/gen/latchkey/v1/key_service_pb.ts";
import {
  CALL_MS,
  type Cast,
  type Clients,
  issue,
  type KnownKey,
  type KnownSecret,
  SCOPES,
  SMALL_LIMIT,
} from "./cast.ts";
import type { ChangeCall, Outcome, Verify } from "./history.ts";
import { type Called, called } from "./recorder.ts";

const VERIFY_MS = 1500;
/** Pause after a call without an answer. */
const REST_MS = 100;
const MOST_LIVE_KEYS = 24;
const MOST_SECRETS = 6;

interface Shown {
  readonly key: KnownKey;
  readonly secret: KnownSecret;
  readonly scope: string;
  readonly cost: number;
}

/** Verifies keys at any process until `isOver`: mostly new keys and keys that have just changed. */
export async function verifyKeys(cast: Cast, isOver: () => boolean): Promise<void> {
  const { random } = cast;
  while (!isOver()) {
    const clients = random.pick(cast.clients);
    const shown = Array.from({ length: random.chance(0.15) ? random.whole(2, 8) : 1 }, () => draw(cast));
    const isAnswered =
      shown.length === 1 ? await verify(cast, clients, shown[0]!) : await verifyBatch(cast, clients, shown);
    await pause(isAnswered ? random.between(5, 40) : REST_MS);
  }
}

function draw(cast: Cast): Shown {
  const { random, keys } = cast;
  const key = random.pick(random.chance(0.7) ? keys.slice(-30) : keys);
  const secret = random.chance(0.7) ? key.secrets.at(-1)! : random.pick(key.secrets);
  const scope = random.chance(0.3) ? random.pick(SCOPES) : "";
  return { key, secret, scope, cost: key.limit === undefined && random.chance(0.5) ? 0 : 1 };
}

/** Makes and records one VerifyKey. @returns the verdict; undefined if there was none */
export async function verify(cast: Cast, clients: Clients, shown: Shown, isFinal = false): Promise<string | undefined> {
  const { answer, ...times } = await called(clients.process, () =>
    clients.verifier.verifyKey(requestOf(shown), { timeoutMs: VERIFY_MS }),
  );
  const record = recordOf(shown, times, answer, isFinal);
  cast.recorder.add(record);
  return record.verdict;
}

async function verifyBatch(cast: Cast, clients: Clients, shown: readonly Shown[]): Promise<boolean> {
  const { answer, ...times } = await called(clients.process, () =>
    clients.verifier.batchVerifyKeys({ requests: shown.map(requestOf) }, { timeoutMs: VERIFY_MS }),
  );
  for (const [at, one] of shown.entries()) {
    const result = answer?.results[at];
    const response = result?.outcome.case === "response" ? result.outcome.value : undefined;
    const outcome = result === undefined ? times.outcome : outcomeOf(result);
    cast.recorder.add(recordOf(one, { ...times, outcome }, response, false));
  }
  return answer !== undefined;
}

function outcomeOf({ outcome }: BatchVerifyKeysResult): Outcome {
  if (outcome.case !== "error") return { kind: "ok" };
  return { kind: "error", code: Code[outcome.value.code] as keyof typeof Code, reason: "in a batch" };
}

function requestOf({ secret, scope, cost }: Shown) {
  return { apiKey: secret.raw, requiredScopes: scope === "" ? [] : [scope], cost };
}

function recordOf(
  { key, secret, scope, cost }: Shown,
  times: Omit<Called<unknown>, "answer">,
  response: VerifyKeyResponse | undefined,
  isFinal: boolean,
): Verify {
  const base = { call: "verify", keyId: key.id, secret: secret.name, scope, cost, limit: key.limit, isFinal } as const;
  if (response === undefined) return { ...base, ...times };
  const { freshness, degraded } = response;
  return {
    ...base,
    ...times,
    verdict: VerdictSchema.value[response.verdict]?.localName ?? "unknown",
    degraded,
    ...(freshness && {
      asOfMs: timestampMs(freshness.asOfTime!),
      maxStalenessMs: Number(freshness.maxStaleness!.seconds) * 1000 + freshness.maxStaleness!.nanos / 1e6,
    }),
  };
}

/** Changes keys and owners until `isOver`. After each change it verifies the key at every process. */
export async function changeKeys(cast: Cast, isOver: () => boolean): Promise<void> {
  const { random, keys, clients } = cast;
  while (!isOver()) {
    const at = random.pick(clients);
    const live = keys.filter(({ isEnded }) => !isEnded);
    if (live.length < MOST_LIVE_KEYS && random.chance(0.6)) {
      const limit = live.filter((key) => key.limit !== undefined).length < 3 ? SMALL_LIMIT : undefined;
      const made = await issue(cast, at, limit);
      if (made !== undefined) await look(cast, at, made);
    } else if (random.chance(0.08)) {
      await disableOwnerForAMoment(cast, at);
    } else if (live.length > 0) {
      await changeKey(cast, at, random.pick(live));
    }
    await pause(random.between(20, 150));
  }
}

const CHANGES: readonly ChangeCall[] = [
  ...(["revoke", "revoke", "revoke", "disable", "disable", "enable", "enable", "enable"] as const),
  ...(["scopes", "scopes", "rotate", "rotate", "rotate", "delete"] as const),
];

async function changeKey(cast: Cast, at: Clients, key: KnownKey): Promise<void> {
  const { random } = cast;
  // Now every process has the key in memory, so the change is news to it.
  await Promise.all(cast.clients.map((clients) => look(cast, clients, key)));
  const call = random.pick(CHANGES);
  if (call === "rotate") await rotate(cast, at, key);
  else await change(cast, at, key, call);
  await Promise.all(cast.clients.map((clients) => look(cast, clients, key)));
}

async function look(cast: Cast, clients: Clients, key: KnownKey): Promise<void> {
  if (key.limit !== undefined) return;
  await verify(cast, clients, { key, secret: key.secrets.at(-1)!, scope: "", cost: 0 });
}

async function change(cast: Cast, at: Clients, key: KnownKey, call: ChangeCall): Promise<void> {
  const { manager } = at;
  const options = { timeoutMs: CALL_MS };
  const keyId = key.id;
  const scopes = cast.random.chance(0.5) ? ["read"] : SCOPES;
  const calls: Partial<Record<ChangeCall, () => Promise<unknown>>> = {
    disable: () => manager.disableKey({ keyId }, options),
    enable: () => manager.enableKey({ keyId }, options),
    delete: () => manager.deleteKey({ keyId }, options),
    scopes: () => manager.updateKey({ key: { id: keyId, scopes }, updateMask: { paths: ["scopes"] } }, options),
  };
  if (call === "revoke" || call === "delete") key.isEnded = true;
  if (call === "revoke") return revoke(cast, at, key);
  const { answer: _, ...times } = await called(at.process, calls[call]!);
  cast.recorder.add({ call, subject: keyId, ...times, ...(call === "scopes" && { scopes }) });
}

/** Revokes a key, and half of the time once more at another process. */
async function revoke(cast: Cast, at: Clients, { id }: KnownKey): Promise<void> {
  for (const { process, manager } of cast.random.chance(0.5) ? [at, cast.random.pick(cast.clients)] : [at]) {
    const { answer, ...times } = await called(process, () => manager.revokeKey({ keyId: id }, { timeoutMs: CALL_MS }));
    const time = answer?.key?.revokeTime;
    const revokeTime = time && timestampDate(time).toISOString();
    cast.recorder.add({ call: "revoke", subject: id, ...times, ...(revokeTime !== undefined && { revokeTime }) });
  }
}

async function rotate(cast: Cast, at: Clients, key: KnownKey): Promise<void> {
  const { random, recorder } = cast;
  if (key.secrets.length >= MOST_SECRETS) return;
  const overlap = { seconds: random.chance(0.5) ? 0n : BigInt(random.whole(1, 6)), nanos: 0 };
  const { answer, ...times } = await called(at.process, () =>
    at.manager.rotateKey({ keyId: key.id, overlap }, { timeoutMs: CALL_MS }),
  );
  const secret = { name: `${key.id} ${key.secrets.length + 1}`, raw: answer?.apiKey ?? "" };
  recorder.add({ call: "rotate", subject: key.id, ...times, ...(answer !== undefined && { secret: secret.name }) });
  if (answer !== undefined) key.secrets.push(secret);
}

async function disableOwnerForAMoment(cast: Cast, at: Clients): Promise<void> {
  const { random, recorder, clients } = cast;
  const owner = random.pick(cast.owners);
  const options = { timeoutMs: CALL_MS };
  const { answer: _, ...times } = await called(at.process, () => at.operator.disableUser({ userId: owner }, options));
  recorder.add({ call: "disableOwner", subject: owner, ...times });
  const theirs = cast.keys.filter((key) => key.ownerId === owner && !key.isEnded).slice(0, 4);
  for (const key of theirs) await Promise.all(clients.map((one) => look(cast, one, key)));
  // Repeated until the owner is enabled again: otherwise all further verdicts on their keys would be the same.
  for (let tries = 0; tries < 20; tries++) {
    const one = random.pick(clients);
    const { answer, ...enabled } = await called(one.process, () => one.operator.enableUser({ userId: owner }, options));
    recorder.add({ call: "enableOwner", subject: owner, ...enabled });
    if (answer !== undefined) return;
    await pause(200);
  }
}
