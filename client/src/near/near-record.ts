import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { type Key, Key_State as State } from "../../../src/gen/latchkey/v1/key_pb.ts";
import { compileNetworks } from "../../../src/keys/allowed-ips.ts";
import type { JudgedKey } from "../../../src/keys/judge-key.ts";
import { ownLimit } from "../../../src/keys/limit-requests.ts";
import { keyOf, type NamedLimit, type VerifiedKey } from "../verdict.ts";
import type { SharedValues } from "./shared-values.ts";
import { timestampMs } from "./times.ts";

/** When a record is true, and for how long it is used. Whole milliseconds, because V8 boxes fractions. */
export interface RecordTimes {
  /** `elapsedMs` of a moment at which the record was surely true, by its own answer. */
  readonly trueAtMs: number;
  /** The position of the snapshot behind the record. */
  readonly position: number;
  /** Whether the stream tells every change of this record after its position. If not, its own age alone counts. */
  readonly isWatched: boolean;
  /** Maximum age at which the record is used while the service answers. */
  readonly boundMs: number;
}

/** A key in this process: what an answer of VerifyKey said of it, prepared for judging. */
export interface NearRecord extends JudgedKey, RecordTimes {
  /** Digest of the raw key. */
  readonly digest: string;
  /** The key as callers see it, deeply frozen. */
  readonly verified: VerifiedKey;
  /** The key's own limit: one entry without a name, or none. */
  readonly ownLimits: readonly NamedLimit[];
  /** `elapsedMs` of the end of its life. */
  readonly endsAtMs: number;
  /** `elapsedMs` from which a VALID key is verified by a call again. */
  recheckAtMs: number;
  /** The estimated bytes of the record. */
  readonly bytes: number;
  /** Whether it was used since the memory last looked for a record to evict. */
  isUsed: boolean;
}

export interface RecordFacts extends RecordTimes {
  readonly digest: string;
  readonly key: Key;
  readonly secretExpireTime: Timestamp | undefined;
  /** The owner's state is not part of a key: an answer tells it by its verdict. */
  readonly isOwnerDisabled: boolean;
  readonly endsAtMs: number;
  readonly recheckAtMs: number;
}

/** A key's scopes are those that its owner's grant covers already, so that only a disabled owner matters. */
const DISABLED_OWNER: JudgedKey["owner"] = Object.freeze({ state: "disabled", scopes: Object.freeze(["*"]) });
const NONE: readonly never[] = Object.freeze([]);

/** Measured bytes of a record without the texts that people choose. */
const RECORD_BYTES = 480;
/** Measured bytes of each of those texts besides its characters. */
const TEXT_BYTES = 24;
/** Measured bytes of a compiled network. */
const NETWORK_BYTES = 256;

export function nearRecord(facts: RecordFacts, shared: SharedValues): NearRecord {
  const { key } = facts;
  const verified = verifiedKey(key, shared);
  return {
    // What each judgement reads comes first, so that it is in two lines of the processor's cache.
    isUsed: false,
    trueAtMs: facts.trueAtMs,
    isWatched: facts.isWatched,
    boundMs: facts.boundMs,
    endsAtMs: facts.endsAtMs,
    recheckAtMs: facts.recheckAtMs,
    key: judgedFacts(key, verified, shared),
    owner: facts.isOwnerDisabled ? DISABLED_OWNER : undefined,
    secretExpiresAtMs: facts.secretExpireTime && timestampMs(facts.secretExpireTime),
    ownLimits: ownLimitsOf(key, shared),
    verified,
    tier: verified.tier,
    isAllowedIp: compileNetworks(key.allowedIps),
    position: facts.position,
    bytes: bytesOf(key),
    digest: facts.digest,
  };
}

function verifiedKey(key: Key, shared: SharedValues): VerifiedKey {
  const own = keyOf(key);
  const hasMetadata = Object.keys(own.metadata).length > 0;
  return Object.freeze({
    id: own.id,
    ownerId: own.ownerId,
    name: own.name,
    tier: shared.of(`text ${own.tier}`, () => own.tier),
    scopes: shared.of(`scopes ${own.scopes.join(" ")}`, () => own.scopes),
    environment: shared.of(`text ${own.environment}`, () => own.environment),
    metadata: hasMetadata ? own.metadata : shared.of("no metadata", () => own.metadata),
    expiresAt: own.expiresAt,
  });
}

/** The facts of a judgement. Keys that are active, never expire and have no lists share those of their scopes. */
function judgedFacts(key: Key, { scopes }: VerifiedKey, shared: SharedValues): JudgedKey["key"] {
  const state = storedState(key);
  const { allowedIps, allowedMethods, expireTime } = key;
  const expiresAtMs = expireTime && timestampMs(expireTime);
  const isPlain = state === "active" && expiresAtMs === undefined && allowedIps.length + allowedMethods.length === 0;
  if (isPlain) {
    const make = () => ({ state, expiresAtMs, scopes, allowedIps: NONE, allowedMethods: NONE });
    return shared.of(`facts ${scopes.join(" ")}`, make);
  }
  return { state, expiresAtMs, scopes, allowedIps: [...allowedIps], allowedMethods: [...allowedMethods] };
}

/**
 * The state that is stored. `Key.state` EXPIRED hides it, and says only what the time was at the answer, so that it is
 * not believed: a key whose end was moved since would stay EXPIRED.
 */
function storedState({ state, disabledBy }: Key): JudgedKey["key"]["state"] {
  if (state === State.REVOKED) return "revoked";
  return state === State.DISABLED || disabledBy !== "" ? "disabled" : "active";
}

function ownLimitsOf({ effectiveLimits }: Key, shared: SharedValues): readonly NamedLimit[] {
  const { perMinute, perDay } = effectiveLimits ?? {};
  if (perMinute === undefined && perDay === undefined) return NONE;
  const make = () => Object.freeze([Object.freeze(ownLimit({ perMinute, perDay }))]);
  return shared.of(`limits ${perMinute} ${perDay}`, make);
}

/** An estimate of a record's memory. It errs on the large side, as the service's own does. */
export function bytesOf(key: Key): number {
  let bytes = RECORD_BYTES + textBytes(key.name) + NETWORK_BYTES * key.allowedIps.length;
  for (const texts of [key.effectiveScopes, key.allowedIps, key.allowedMethods]) {
    for (const text of texts) bytes += textBytes(text);
  }
  for (const name in key.metadata) bytes += textBytes(name) + textBytes(key.metadata[name]!);
  return bytes;
}

/** A character takes one or two bytes. */
function textBytes(text: string): number {
  return TEXT_BYTES + 2 * text.length;
}
