import type { JWK } from "jose";
import type { Change, Copy as CopyOfTruth } from "../../changes/change.ts";
import type { DatabaseClock } from "../../changes/database-clock.ts";
import { isFresh } from "../../changes/freshness.ts";
import { type AgeClock, MINUTE_MS } from "../../lib/clock.ts";
import { reasonOf } from "../../lib/errors.ts";
import { type KeyRing, masterKeyMissing } from "../../lib/key-ring.ts";
import type { Log } from "../../lib/log.ts";
import { rotateSigningKey } from "./rotate-signing-key.ts";
import {
  newSigningKey,
  type SigningAlgorithm,
  type SigningKey,
  type SigningKeyRecord,
  sealSigningKey,
  signingKeyState,
  unsealSigningKey,
} from "./signing-key.ts";
import type { SigningKeyStore } from "./signing-key-store.ts";

export interface SigningKeysOptions {
  readonly store: Pick<SigningKeyStore, "list" | "addUnlessOneSigns" | "addNext" | "reseal">;
  /** Up to when changes are known, see `ChangeFeed`. */
  readonly feed: { readonly freshAtMs: number };
  readonly ring: KeyRing;
  readonly clock: AgeClock;
  readonly databaseClock: DatabaseClock;
  readonly log: Log;
  /** Of keys that are made from now on. */
  readonly algorithm: SigningAlgorithm;
  /** Life of an access token: how long a retired key still verifies. */
  readonly accessTokenMs: number;
  /** A key that has signed for so long is replaced. */
  readonly signingKeyMs: number;
}

/** A key set (RFC 7517). */
export interface Jwks {
  readonly keys: readonly JWK[];
  /** The database is out of reach, and keys may have come or gone since. */
  readonly isStale: boolean;
}

/** Tokens with made-up key ids cause at most one read in this time. */
const UNKNOWN_KID_RELOAD_MS = 1000;
/** Beyond the last token's end, for clocks of other verifiers. */
const RETIRED_MARGIN_MS = MINUTE_MS;
/** A rotation by age that failed is tried again after this time. */
const ROTATION_RETRY_MS = MINUTE_MS;
const BY_AGE = Object.freeze({ id: "", clientIp: "" });

interface Kept extends SigningKeyRecord {
  readonly key: SigningKey;
}

interface Copy {
  /** Newest first; only those that could be unsealed. */
  readonly keys: readonly Kept[];
  /** Kept in the database but not readable here. */
  readonly unreadable: ReadonlySet<string>;
  /** `elapsedMs` of the clock at which its read began. */
  readonly readAtMs: number;
  /** Something changed since. */
  readonly isOutdated: boolean;
}

/**
 * The keys that sign access tokens, kept near. A revoked one is refused within FRESH_MS, whatever happens to the feed or
 * the database. Only what could be unsealed with the master secret counts.
 */
export class SigningKeys implements CopyOfTruth {
  readonly #options: SigningKeysOptions;
  /** By kid, so that a key is unsealed once. It stays the same key, however often it is sealed anew. */
  readonly #unsealed = new Map<string, SigningKey>();
  #copy: Copy | undefined;
  #reload: Promise<Copy> | undefined;
  #reloadBeganMs = Number.NEGATIVE_INFINITY;
  #lastFailure: unknown;
  #rotationTriedMs = Number.NEGATIVE_INFINITY;

  constructor(options: SigningKeysOptions) {
    this.#options = options;
  }

  /**
   * The key to sign with: the newest that is active. Where none is, as at the first start, one is made. When it is old
   * the next one is made in the background: a key that nobody signs with needs no rotation.
   * @throws DATABASE_UNAVAILABLE; MASTER_KEY_MISSING when active keys exist but none can be unsealed
   */
  async signer(): Promise<SigningKey> {
    const copy = await this.#fresh();
    const kept = this.#active(copy);
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
   * @throws DATABASE_UNAVAILABLE when that can't be known; MASTER_KEY_MISSING when it exists but can't be unsealed
   */
  async verifier(kid: string): Promise<SigningKey | undefined> {
    let copy = await this.#fresh();
    if (!this.#knows(copy, kid)) {
      if (this.#options.clock.monotonicMs() - this.#reloadBeganMs >= UNKNOWN_KID_RELOAD_MS) copy = await this.#load();
      else if (this.#reload !== undefined) copy = await this.#reload;
      else if (this.#lastFailure !== undefined) throw this.#lastFailure;
    }
    if (copy.unreadable.has(kid)) throw masterKeyMissing();
    return this.#published(copy).find((key) => key.kid === kid);
  }

  /**
   * What others verify access tokens with: keys that will sign, sign, or have signed tokens that may still live.
   * While the database is out of reach the last set is served, since verifiers elsewhere depend on it.
   */
  async jwks(): Promise<Jwks> {
    const jwksOf = (copy: Copy) => this.#published(copy).map((key) => key.publicJwk);
    try {
      await this.signer();
      return { keys: jwksOf(await this.#fresh()), isStale: false };
    } catch (error) {
      if (this.#copy === undefined) throw error;
      return { keys: jwksOf(this.#copy), isStale: true };
    }
  }

  /**
   * Reads the keys, and with that seals anew what is sealed under an older master key, also where nobody logs in. Never
   * rejects: each later read tries again.
   */
  async sealAnew(): Promise<void> {
    await this.#fresh().catch(() => {});
  }

  /** Reads again before the next use, if keys changed. */
  apply(change: Change): void {
    if (change.kind === "SIGNING_KEY") this.clear();
  }

  /** Reads again before the next use. What was read serves on as the key set if that fails. */
  clear(): void {
    if (this.#copy !== undefined) this.#copy = { ...this.#copy, isOutdated: true };
    this.#reload = undefined;
  }

  #active(copy: Copy): Kept | undefined {
    const nowMs = this.#options.databaseClock.nowMs();
    return copy.keys.find((kept) => signingKeyState(kept, nowMs) === "active");
  }

  #isRotationDue(active: Kept): boolean {
    const { clock, databaseClock, signingKeyMs } = this.#options;
    const nowMs = databaseClock.nowMs();
    if (nowMs - active.activatesAtMs < signingKeyMs || active.retiresAtMs !== undefined) return false;
    return clock.monotonicMs() - this.#rotationTriedMs >= ROTATION_RETRY_MS;
  }

  /** Never rejects: the old key signs on. Any number of processes at once make one key, see the store. */
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

  #published(copy: Copy): readonly SigningKey[] {
    const goneBeforeMs = this.#options.databaseClock.nowMs() - this.#options.accessTokenMs - RETIRED_MARGIN_MS;
    return copy.keys
      .filter((kept) => (kept.retiresAtMs ?? Number.POSITIVE_INFINITY) > goneBeforeMs)
      .map((kept) => kept.key);
  }

  #knows(copy: Copy, kid: string): boolean {
    return copy.unreadable.has(kid) || copy.keys.some((kept) => kept.kid === kid);
  }

  async #fresh(): Promise<Copy> {
    const copy = this.#copy;
    if (copy !== undefined && !copy.isOutdated && this.#isFresh(copy)) return copy;
    const read = await this.#load();
    // What waited for this process, or its machine, to run again says too little; a read that begins now does not.
    return this.#isFresh(read) ? read : this.#load();
  }

  /** The feed names whatever changed: a copy that it did not outdate is as of its last poll. */
  #isFresh(copy: Copy): boolean {
    return isFresh(this.#options.clock, Math.max(copy.readAtMs, this.#options.feed.freshAtMs));
  }

  /** One read at a time, however many ask. */
  #load(): Promise<Copy> {
    if (this.#reload !== undefined) return this.#reload;
    const reload = this.#read();
    this.#reload = reload;
    reload.then(
      (copy) => this.#settle(reload, copy, undefined),
      (error: unknown) => this.#settle(reload, this.#copy, error),
    );
    return reload;
  }

  /** Keeps what a read brought, unless a change was announced since it began. */
  #settle(reload: Promise<Copy>, copy: Copy | undefined, failure: unknown): void {
    if (this.#reload !== reload) return;
    this.#reload = undefined;
    this.#lastFailure = failure;
    this.#copy = copy;
  }

  async #read(): Promise<Copy> {
    const { store, clock, databaseClock } = this.#options;
    const readAtMs = clock.elapsedMs();
    this.#reloadBeganMs = clock.monotonicMs();
    const { keys, databaseMs } = await store.list();
    databaseClock.observe(databaseMs, readAtMs);
    const copy = await this.#unseal(keys, readAtMs);
    for (const kept of copy.keys) void this.#sealAnew(kept);
    return copy;
  }

  /** Never rejects. Of any number of processes one does it, see the store. */
  async #sealAnew(kept: Kept): Promise<void> {
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

  async #unseal(records: readonly SigningKeyRecord[], readAtMs: number): Promise<Copy> {
    const keys = [];
    const unreadable = new Set<string>();
    for (const record of records) {
      const key = this.#unsealed.get(record.kid) ?? (await unsealSigningKey(this.#options.ring, record));
      if (typeof key === "string") {
        unreadable.add(record.kid);
        this.#options.log.error("a signing key can't be unsealed", { kid: record.kid, failure: key });
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
}
