import type { JWK } from "jose";
import type { Change, Copy } from "../../changes/change.ts";
import type { DatabaseClock } from "../../changes/database-clock.ts";
import { isFresh } from "../../changes/freshness.ts";
import { type AgeClock, MINUTE_MS } from "../../lib/clock.ts";
import { reasonOf } from "../../lib/errors.ts";
import { type KeyRing, logMissingVersion, masterKeyMissing } from "../../lib/key-ring.ts";
import type { Log } from "../../lib/log.ts";
import { rotateSigningKey } from "./rotate-signing-key.ts";
import {
  newSigningKey,
  type SigningAlgorithm,
  type SigningKey,
  type SigningKeyRecord,
  sealSigningKey,
  signingKeyState,
  type UnsealFailure,
  unsealSigningKey,
} from "./signing-key.ts";
import type { SigningKeyStore } from "./signing-key-store.ts";

export interface SigningKeysOptions {
  readonly store: Pick<SigningKeyStore, "list" | "addUnlessOneSigns" | "addNext" | "reseal">;
  /** The time up to which changes are known; see `ChangeFeed`. */
  readonly feed: { readonly freshAtMs: number };
  readonly ring: KeyRing;
  readonly clock: AgeClock;
  readonly databaseClock: DatabaseClock;
  readonly log: Log;
  /** The algorithm of new keys. */
  readonly algorithm: SigningAlgorithm;
  /** Life of an access token, which is the time for which a retired key still verifies. */
  readonly accessTokenMs: number;
  /** Time for which a key signs before it is replaced. */
  readonly signingKeyMs: number;
}

/** The published key set (RFC 7517). */
export interface Jwks {
  readonly keys: readonly JWK[];
  /** Whether the database is unreachable, so that keys may have changed since. */
  readonly isStale: boolean;
}

/** Minimum time between two reads that unknown key ids cause. Anyone can make up a token with such an id. */
const UNKNOWN_KID_RELOAD_MS = 1000;
/** Time for which a retired key stays published after its last token expired: clocks of other verifiers may be slow. */
const RETIRED_MARGIN_MS = MINUTE_MS;
/** Time after which a rotation by age that failed is tried again. */
const ROTATION_RETRY_MS = MINUTE_MS;
/** The actor of a rotation by age: the service itself. */
const BY_AGE = Object.freeze({ id: "", clientIp: "" });

/** A key of the set, as stored and unsealed. */
interface Kept extends SigningKeyRecord {
  readonly key: SigningKey;
}

/** The result of one read of the keys. */
interface KeySet {
  /** Newest first; only those that could be unsealed. */
  readonly keys: readonly Kept[];
  /** Key ids that are stored but could not be unsealed by this process. */
  readonly unreadable: ReadonlySet<string>;
  /** `elapsedMs` of the clock when the read began. */
  readonly readAtMs: number;
  /** Whether a change was announced since. */
  readonly isOutdated: boolean;
}

/**
 * A cache of the signing keys. A revoked key is refused within FRESH_MS, whatever happens to the feed or the database.
 * It uses no key that the master keys of this process can't unseal.
 */
export class SigningKeys implements Copy {
  readonly #options: SigningKeysOptions;
  /** By kid, so that each key is unsealed once. Resealing does not change a key. */
  readonly #unsealed = new Map<string, SigningKey>();
  #keySet: KeySet | undefined;
  #reload: Promise<KeySet> | undefined;
  #reloadBeganMs = Number.NEGATIVE_INFINITY;
  #lastFailure: unknown;
  #rotationTriedMs = Number.NEGATIVE_INFINITY;

  constructor(options: SigningKeysOptions) {
    this.#options = options;
  }

  /**
   * The key to sign with: the newest active one. If there is none, as at the first start, one is made. If it is old,
   * the next one is made in the background. So a key is rotated only while the service signs.
   *
   * @throws DATABASE_UNAVAILABLE; MASTER_KEY_MISSING if active keys exist but none can be unsealed
   */
  async signer(): Promise<SigningKey> {
    const keySet = await this.#fresh();
    const kept = this.#active(keySet);
    if (kept !== undefined) {
      if (this.#isRotationDue(kept)) void this.#rotate();
      return kept.key;
    }
    const { store, ring, algorithm, log } = this.#options;
    const made = await newSigningKey(ring, algorithm);
    if (await store.addUnlessOneSigns(made)) log.info("made a signing key", { kid: made.kid, algorithm });
    const found = this.#active(await this.#load());
    if (found === undefined) throw masterKeyMissing();
    return found.key;
  }

  /**
   * The key that verifies tokens with this kid; undefined if there is none.
   *
   * @throws DATABASE_UNAVAILABLE if that can't be known; MASTER_KEY_MISSING if the key exists but can't be unsealed
   */
  async verifier(kid: string): Promise<SigningKey | undefined> {
    let keySet = await this.#fresh();
    if (!this.#knows(keySet, kid)) {
      if (this.#options.clock.monotonicMs() - this.#reloadBeganMs >= UNKNOWN_KID_RELOAD_MS) keySet = await this.#load();
      else if (this.#reload !== undefined) keySet = await this.#reload;
      else if (this.#lastFailure !== undefined) throw this.#lastFailure;
    }
    if (keySet.unreadable.has(kid)) throw masterKeyMissing();
    return this.#published(keySet).find((key) => key.kid === kid);
  }

  /**
   * The keys with which others verify access tokens: those that will sign, those that sign, and those whose tokens may
   * still be valid. While the database is unreachable the last set is returned, because other verifiers depend on it.
   */
  async jwks(): Promise<Jwks> {
    const jwksOf = (keySet: KeySet) => this.#published(keySet).map((key) => key.publicJwk);
    try {
      await this.signer();
      return { keys: jwksOf(await this.#fresh()), isStale: false };
    } catch (error) {
      if (this.#keySet === undefined) throw error;
      return { keys: jwksOf(this.#keySet), isStale: true };
    }
  }

  /**
   * Reads the keys. Each read reseals the keys that are sealed under an older master key; this one does so even if no
   * person logs in. Never rejects, because each later read tries again.
   */
  async reseal(): Promise<void> {
    await this.#fresh().catch(() => {});
  }

  /** Makes the next use read again, if the change concerns signing keys. */
  apply(change: Change): void {
    if (change.kind === "SIGNING_KEY") this.clear();
  }

  /** Makes the next use read again. If that read fails, `jwks` still returns the keys that were read before. */
  clear(): void {
    if (this.#keySet !== undefined) this.#keySet = { ...this.#keySet, isOutdated: true };
    this.#reload = undefined;
  }

  #active(keySet: KeySet): Kept | undefined {
    const nowMs = this.#options.databaseClock.nowMs();
    return keySet.keys.find((kept) => signingKeyState(kept, nowMs) === "active");
  }

  #isRotationDue(active: Kept): boolean {
    const { clock, databaseClock, signingKeyMs } = this.#options;
    const nowMs = databaseClock.nowMs();
    if (nowMs - active.activatesAtMs < signingKeyMs || active.retiresAtMs !== undefined) return false;
    return clock.monotonicMs() - this.#rotationTriedMs >= ROTATION_RETRY_MS;
  }

  /**
   * Never rejects: if it fails, the old key still signs. Processes that rotate at the same time make one key; see the
   * store.
   */
  async #rotate(): Promise<void> {
    this.#rotationTriedMs = this.#options.clock.monotonicMs();
    try {
      await rotateSigningKey(this.#options, { by: BY_AGE });
    } catch (error) {
      this.#options.log.warn("the signing key is old and could not be replaced; trying again", {
        reason: reasonOf(error),
      });
    }
  }

  #published(keySet: KeySet): readonly SigningKey[] {
    const goneBeforeMs = this.#options.databaseClock.nowMs() - this.#options.accessTokenMs - RETIRED_MARGIN_MS;
    return keySet.keys
      .filter((kept) => (kept.retiresAtMs ?? Number.POSITIVE_INFINITY) > goneBeforeMs)
      .map((kept) => kept.key);
  }

  #knows(keySet: KeySet, kid: string): boolean {
    return keySet.unreadable.has(kid) || keySet.keys.some((kept) => kept.kid === kid);
  }

  async #fresh(): Promise<KeySet> {
    const keySet = this.#keySet;
    if (keySet !== undefined && !keySet.isOutdated && this.#isFresh(keySet)) return keySet;
    const read = await this.#load();
    // The read is too old if this process or its machine stood still meanwhile. A read that begins now is not.
    return this.#isFresh(read) ? read : this.#load();
  }

  /** The feed announces every change, so a set that it did not mark as outdated is as fresh as its last poll. */
  #isFresh(keySet: KeySet): boolean {
    return isFresh(this.#options.clock, Math.max(keySet.readAtMs, this.#options.feed.freshAtMs));
  }

  /** Reads the keys, at most once at a time: concurrent callers share the read (single-flight). */
  #load(): Promise<KeySet> {
    if (this.#reload !== undefined) return this.#reload;
    const reload = this.#read();
    this.#reload = reload;
    reload.then(
      (keySet) => this.#settle(reload, keySet, undefined),
      (error: unknown) => this.#settle(reload, this.#keySet, error),
    );
    return reload;
  }

  /** Stores the result of a read, unless a change was announced since the read began. */
  #settle(reload: Promise<KeySet>, keySet: KeySet | undefined, failure: unknown): void {
    if (this.#reload !== reload) return;
    this.#reload = undefined;
    this.#lastFailure = failure;
    this.#keySet = keySet;
  }

  async #read(): Promise<KeySet> {
    const { store, clock, databaseClock } = this.#options;
    const readAtMs = clock.elapsedMs();
    this.#reloadBeganMs = clock.monotonicMs();
    const { keys, databaseMs } = await store.list();
    databaseClock.observe(databaseMs, readAtMs);
    const keySet = await this.#unseal(keys, readAtMs);
    for (const kept of keySet.keys) void this.#reseal(kept);
    return keySet;
  }

  /** Never rejects. If several processes reseal a key at the same time, one of them succeeds; see the store. */
  async #reseal(kept: Kept): Promise<void> {
    const { ring, store, log } = this.#options;
    if (!ring.isBehind(kept.sealVersion)) return;
    const fields = { kid: kept.kid, version: ring.current };
    try {
      const isDone = await store.reseal({ from: kept, to: sealSigningKey(ring, kept.key) });
      if (isDone) log.info("sealed a signing key under the current master key", fields);
    } catch {
      log.warn("a signing key could not be sealed under the current master key; trying again", fields);
    }
  }

  async #unseal(records: readonly SigningKeyRecord[], readAtMs: number): Promise<KeySet> {
    const keys = [];
    const unreadable = new Set<string>();
    for (const record of records) {
      const key = this.#unsealed.get(record.kid) ?? (await unsealSigningKey(this.#options.ring, record));
      if (typeof key === "string") {
        unreadable.add(record.kid);
        this.#reportUnreadable(record, key);
      } else {
        this.#unsealed.set(record.kid, key);
        keys.push({ ...record, key });
      }
    }
    for (const kid of this.#unsealed.keys()) {
      if (!records.some((record) => record.kid === kid)) this.#unsealed.delete(kid);
    }
    return { keys, unreadable, readAtMs, isOutdated: false };
  }

  #reportUnreadable({ kid, sealVersion }: SigningKeyRecord, failure: UnsealFailure): void {
    const { log } = this.#options;
    if (failure === "version_missing") logMissingVersion(log, sealVersion, { needed_by: `the signing key ${kid}` });
    else log.error("a signing key can't be unsealed", { kid, failure });
  }
}
