import { hash } from "node:crypto";
import type { ChangeBus, ChangeKind } from "../changes/change.ts";
import type { DatabaseClock } from "../changes/database-clock.ts";
import type { AgeSources } from "../changes/freshness.ts";
import { type CacheReads, type Loaded, RecordCache } from "../changes/record-cache.ts";
import { type KeyRing, logMissingVersion, masterKeyMissing } from "../lib/key-ring.ts";
import type { Log } from "../lib/log.ts";
import { ownText } from "../lib/text.ts";
import type { LimitFigures, NamedLimit } from "../limits/limit.ts";
import { compileNetworks } from "./allowed-ips.ts";
import { hasEnded, type Key, type KeyOwner, type KeySecretDigest, type KeyState } from "./key.ts";
import { MAX_KEY_LENGTH } from "./key-form.ts";
import { findSecret, MissingPepper } from "./key-secret.ts";
import type { KeyStore, KeyWithSecrets } from "./key-store.ts";
import { ownLimit } from "./limit-requests.ts";
import type { SecretRehasher } from "./secret-rehasher.ts";
import type { Tiers } from "./tiers.ts";

/**
 * The basis of a verdict: one key and its owner, found by one of the key's secrets and prepared for judging when it was
 * read. A record belongs to that secret and has that secret's own end.
 */
export interface KeyRecord {
  readonly key: Key;
  readonly owner: KeyOwner | undefined;
  readonly secretExpiresAtMs: number | undefined;
  /** The tier by which the key is judged. */
  readonly tier: string;
  /** The key's own limit: one entry, or none if it has no figure. */
  readonly ownLimits: readonly NamedLimit[];
  readonly isAllowedIp: (ip: string) => boolean;
  /** A cache for rpc: the encoded key, kept as long as the record. It is the only field that changes. */
  shown: ShownKey | undefined;
}

/** The encoded bytes of a key in one state. */
export interface ShownKey {
  readonly state: KeyState;
  /** One character for each byte: a string takes less memory than an array with its own buffer. */
  readonly latin1: string;
}

/**
 * Finds the record of one raw key. It holds no record, so that each call returns the current one. It does not hold the
 * raw key either, so that callers may keep it.
 */
export interface RecordLookup {
  /** The record if it is in memory and fresh, without waiting. */
  fresh(): Loaded<KeyRecord> | undefined;
  /** As KeyRecords.find. @param rawKey the raw key for which this was made */
  find(rawKey: string): Promise<Loaded<KeyRecord>>;
}

/** The limits that apply to a key now. */
interface KeyLimits {
  readonly keyId: string;
  readonly ownerId: string | undefined;
  readonly figures: LimitFigures;
}

/** The kinds of changes that concern keys. Service credentials are read and judged in the same way. */
const KEY_KINDS: readonly ChangeKind[] = ["KEY", "SERVICE_CREDENTIAL"];

/** The ids by which a change evicts a record. */
function tagsOf(record: KeyRecord | KeyLimits): readonly string[] {
  const { keyId, ownerId } = "key" in record ? { keyId: record.key.id, ownerId: record.key.ownerId } : record;
  return ownerId === undefined ? [keyId] : [keyId, ownerId];
}

/** Maximum negative entries of each cache. */
const MAX_ABSENT = 10_000;
/**
 * Memory for each record that may be kept: 1.5 times the size of most records. A single record can take 100 times as
 * much.
 */
const BYTES_PER_RECORD = 1536;
/** Measured bytes of a record without the texts that people choose. */
const RECORD_BYTES = 800;
/** Measured bytes of each of those texts besides its characters. */
const TEXT_BYTES = 32;
/** Measured bytes of a compiled network. */
const NETWORK_BYTES = 256;

/** An estimate of a record's memory with its encoded bytes. It errs on the large side. */
export function bytesOf({ key, owner }: KeyRecord): number {
  let bytes = RECORD_BYTES + textBytes(key.name) + textBytes(key.description) + NETWORK_BYTES * key.allowedIps.length;
  for (const texts of [key.scopes, key.allowedIps, key.allowedMethods, owner?.scopes ?? []]) {
    for (const text of texts) bytes += textBytes(text);
  }
  // The encoded bytes have most scopes a second time, as effective scopes.
  for (const scope of key.scopes) bytes += Buffer.byteLength(scope);
  for (const name in key.metadata) bytes += textBytes(name) + textBytes(key.metadata[name]!);
  return bytes;
}

/** The bytes of a text: each character takes one or two bytes, and is kept once more as UTF-8. */
function textBytes(text: string): number {
  return TEXT_BYTES + 2 * text.length + Buffer.byteLength(text);
}

export interface KeyRecordsDeps extends AgeSources {
  readonly store: Pick<KeyStore, "read">;
  /** Tells the caches of changes. */
  readonly bus: Pick<ChangeBus, "add">;
  readonly ring: KeyRing;
  readonly rehasher: Pick<SecretRehasher, "matched">;
  readonly tiers: Tiers;
  readonly databaseClock: DatabaseClock;
  readonly log: Log;
  /** Maximum records in memory. */
  readonly maxRecords: number;
  /** How long records may be served stale while the database is unreachable, see RecordCacheOptions. */
  readonly staleOkMs: number;
}

const NO_LIMITS: readonly NamedLimit[] = Object.freeze([]);

/** Records by raw key: from memory while they are fresh, otherwise by one read. */
export class KeyRecords {
  readonly #deps: KeyRecordsDeps;
  /** Records by the digest of the whole raw key. */
  readonly #cache: RecordCache<KeyRecord>;
  /** The figures of keys by id, for calls without a raw key. */
  readonly #limitsCache: RecordCache<KeyLimits>;

  constructor(deps: KeyRecordsDeps) {
    this.#deps = deps;
    const { clock, feed, breaker, maxRecords, staleOkMs } = deps;
    const options = { clock, feed, breaker, staleOkMs, kinds: KEY_KINDS, tagsOf };
    const bounds = { maxEntries: maxRecords, maxAbsent: MAX_ABSENT };
    const bytes = { most: maxRecords * BYTES_PER_RECORD, of: bytesOf };
    this.#cache = new RecordCache<KeyRecord>({ ...options, ...bounds, bytes });
    this.#limitsCache = new RecordCache<KeyLimits>({ ...options, ...bounds });
    deps.bus.add(this.#cache);
    deps.bus.add(this.#limitsCache);
  }

  /** Number of records in memory. */
  get size(): number {
    return this.#cache.size;
  }

  /** The reads of records by raw key, and of limits by a key's id, since the start. */
  get reads(): Readonly<Record<"keys" | "limits", CacheReads>> {
    return { keys: this.#cache.reads, limits: this.#limitsCache.reads };
  }

  /**
   * The record if it is in memory and fresh, without waiting. Accepts any text; a text that is not a key is not found.
   */
  fresh(rawKey: string): Loaded<KeyRecord> | undefined {
    return rawKey.length > MAX_KEY_LENGTH ? undefined : this.#cache.fresh(cacheId(rawKey));
  }

  /**
   * The record of a raw key whose form is valid; no record for an unknown id or a wrong secret.
   *
   * @throws DATABASE_UNAVAILABLE if the record is not in memory and can't be read; MASTER_KEY_MISSING if the secret is
   *   stored under a master key that this process lacks. Both mean that the answer is unknown, never that the key is
   *   bad.
   */
  find(rawKey: string, keyId: string): Promise<Loaded<KeyRecord>> {
    return this.#find(cacheId(rawKey), rawKey, keyId);
  }

  /** `find` for a caller that requests the same raw key repeatedly. */
  lookup(rawKey: string, keyId: string): RecordLookup {
    const cache = this.#cache;
    const id = cacheId(rawKey);
    const ownKeyId = ownText(keyId);
    return { fresh: () => cache.fresh(id), find: (again) => this.#find(id, again, ownKeyId) };
  }

  #find(id: string, rawKey: string, keyId: string): Promise<Loaded<KeyRecord>> {
    const load = async () => {
      const [found] = await this.#read([keyId]);
      return this.#match(rawKey, found);
    };
    return this.#cache.get(id, load, keyId);
  }

  /**
   * As `find` for several keys, with one statement for all keys that are not in memory. Results are in the order of the
   * keys. If the read fails, each key that needed it fails.
   */
  findAll(keys: readonly { rawKey: string; keyId: string }[]): Promise<PromiseSettledResult<Loaded<KeyRecord>>[]> {
    const wanted = keys.map(({ rawKey, keyId }) => ({ id: cacheId(rawKey), subjectId: keyId, rawKey }));
    return this.#cache.getMany(wanted, (missing) => {
      const keyIds = new Set(missing.map(({ subjectId }) => subjectId));
      const reading = this.#read([...keyIds]);
      return missing.map(async ({ rawKey, subjectId }) => {
        const found = (await reading).find(({ key }) => key.id === subjectId);
        return this.#match(rawKey, found);
      });
    });
  }

  /** The key's own limits; undefined for an unknown id. @throws DATABASE_UNAVAILABLE */
  async findLimits(keyId: string): Promise<LimitFigures | undefined> {
    const loaded = await this.#limitsCache.get(keyId, async () => this.#limitsOf((await this.#read([keyId]))[0]));
    return loaded.record?.figures;
  }

  /**
   * As `findLimits` for several distinct keys, with one statement for all keys that are not in memory. Results are in
   * the order of the keys. If the read fails, each key that needed it fails.
   */
  async findLimitsOfAll(keyIds: readonly string[]): Promise<PromiseSettledResult<LimitFigures | undefined>[]> {
    const wanted = keyIds.map((keyId) => ({ id: keyId, subjectId: keyId }));
    const loads = await this.#limitsCache.getMany(wanted, (missing) => {
      const reading = this.#read(missing.map(({ id }) => id));
      return missing.map(async ({ id }) => this.#limitsOf((await reading).find(({ key }) => key.id === id)));
    });
    return loads.map((load) => (load.status === "rejected" ? load : { ...load, value: load.value.record?.figures }));
  }

  #limitsOf(found: KeyWithSecrets | undefined): KeyLimits | undefined {
    if (found === undefined) return undefined;
    const { key, owner } = found;
    const figures = this.#deps.tiers.effectiveLimits(key, owner);
    return Object.freeze({ keyId: key.id, ownerId: key.ownerId, figures });
  }

  async #read(keyIds: readonly string[]): Promise<readonly KeyWithSecrets[]> {
    const { store, clock, databaseClock } = this.#deps;
    const sentAtMs = clock.elapsedMs();
    const { keys, databaseMs } = await store.read(keyIds);
    databaseClock.observe(databaseMs, sentAtMs);
    return keys;
  }

  #match(rawKey: string, found: KeyWithSecrets | undefined): KeyRecord | undefined {
    const { ring, rehasher, tiers, log } = this.#deps;
    try {
      const secret = findSecret(ring, rawKey, found?.secrets ?? [], (each) => this.#isOver(found, each));
      if (secret === undefined || found === undefined) return undefined;
      rehasher.matched(rawKey, secret);
      return Object.seal({
        key: found.key,
        owner: found.owner,
        secretExpiresAtMs: earlier(secret.expiresAtMs, found.key.expiresAtMs),
        tier: found.key.kind === "service" ? "" : tiers.judged(found.key, found.owner).name,
        ownLimits: ownLimits(tiers.effectiveLimits(found.key, found.owner)),
        isAllowedIp: compileNetworks(found.key.allowedIps),
        shown: undefined,
      });
    } catch (error) {
      if (!(error instanceof MissingPepper)) throw error;
      logMissingVersion(log, error.version, { needed_by: "a key's secret" });
      throw masterKeyMissing();
    }
  }

  /** Whether a secret can never be valid again. A key or a secret that has ended stays ended. */
  #isOver(found: KeyWithSecrets | undefined, secret: KeySecretDigest): boolean {
    const nowMs = this.#deps.databaseClock.nowMs();
    if (found === undefined || hasEnded(found.key, nowMs)) return true;
    return secret.expiresAtMs !== undefined && secret.expiresAtMs <= nowMs;
  }
}

/**
 * The id of a record in the cache: a digest of the whole raw key. So memory contains no raw keys, and a wrong secret
 * finds nothing. Plain SHA-256 suffices because 256 random bits can't be guessed; it takes a third of the time of the
 * pepper's HMAC.
 */
function cacheId(rawKey: string): string {
  return hash("sha256", rawKey, "base64url");
}

/** Shared lists: most keys have a tier's figures, so one list serves them all. */
const limitsOfFigures = new WeakMap<LimitFigures, readonly NamedLimit[]>();

function ownLimits(figures: LimitFigures): readonly NamedLimit[] {
  if (figures.perMinute === undefined && figures.perDay === undefined) return NO_LIMITS;
  const known = limitsOfFigures.get(figures);
  if (known !== undefined) return known;
  const limits = Object.freeze([ownLimit(figures)]);
  limitsOfFigures.set(figures, limits);
  return limits;
}

function earlier(a: number | undefined, b: number | undefined): number | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return Math.min(a, b);
}
