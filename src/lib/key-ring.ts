import { hkdfSync } from "node:crypto";

/** What a derived key is for. Each purpose has a key of its own, so that none can be used in another's place. */
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
 * The master secrets of the service as a ring: the first makes, all verify. Newer ones have higher versions. Keys are derived from them by HKDF-SHA-256
 * (RFC 5869) with the purpose as `info`; 32 bytes each, computed once.
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
   * Whether what is kept under a version should be kept under the current one instead. Only ever towards a higher
   * version: while a ring is rolled out, processes whose rings have another order would else rewrite each other's rows.
   */
  isBehind(version: number): boolean {
    return version < this.current;
  }

  /** The key of a purpose under the current version. */
  currentKey(purpose: Purpose): Buffer {
    return this.derive(purpose, this.current) as Buffer;
  }
}
