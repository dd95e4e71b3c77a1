import { hkdfSync } from "node:crypto";
import { DomainError } from "./errors.ts";
import type { Log } from "./log.ts";

/** The purpose of a derived key. Each purpose has its own key, so that no key can be used for another purpose. */
export type Purpose =
  | "api-key-pepper"
  | "refresh-token"
  | "reset-token"
  | "password-secret"
  | "page-token"
  | "signing-key-seal"
  | "email-digest"
  | "check-value";

export interface MasterKey {
  readonly version: number;
  /** At least 32 bytes. */
  readonly bytes: Uint8Array;
}

/**
 * The master secrets of the service as a key ring with versions: the first version makes new things, all versions
 * verify. Newer versions have higher numbers. The ring derives its keys by HKDF-SHA-256 (RFC 5869) with the purpose as
 * `info`; each has 32 bytes and is computed once.
 */
export class KeyRing {
  /** The version that makes new things. */
  readonly current: number;
  /** All versions, the current one first. */
  readonly versions: readonly number[];
  readonly #derived = new Map<string, Buffer>();
  readonly #masterKeys: ReadonlyMap<number, Uint8Array>;

  constructor(masterKeys: readonly [MasterKey, ...MasterKey[]]) {
    this.current = masterKeys[0].version;
    this.versions = Object.freeze(masterKeys.map((key) => key.version));
    this.#masterKeys = new Map(masterKeys.map((key) => [key.version, key.bytes]));
  }

  /** The key of a purpose under a version; undefined if the ring does not hold that version. */
  derive(purpose: Purpose, version: number): Buffer | undefined {
    const cached = this.#derived.get(`${version}:${purpose}`);
    if (cached !== undefined) return cached;
    const master = this.#masterKeys.get(version);
    if (master === undefined) return undefined;
    const key = Buffer.from(hkdfSync("sha256", master, new Uint8Array(0), `latchkey/v1/${purpose}`, 32));
    this.#derived.set(`${version}:${purpose}`, key);
    return key;
  }

  /**
   * Whether something stored under a version should be stored under the current one instead. True only for a lower
   * version: during a rollout, processes whose rings have another order would otherwise rewrite each other's rows.
   */
  isBehind(version: number): boolean {
    return version < this.current;
  }

  /** The key of a purpose under the current version. */
  currentKey(purpose: Purpose): Buffer {
    return this.derive(purpose, this.current) as Buffer;
  }
}

/** The error for stored data that needs a master key version that this process does not have. */
export function masterKeyMissing(): DomainError {
  return new DomainError(
    "MASTER_KEY_MISSING",
    "the service lacks a master key that it needs; its operators must add it",
  );
}

/** Logs that a master key version is missing. @param fields what needs it */
export function logMissingVersion(log: Log, version: number, fields: Readonly<Record<string, string>> = {}): void {
  log.error("LATCHKEY_MASTER_KEYS lacks a version that stored data needs", { version, ...fields });
}
