/**
 * PASSWORDS. A new password passes the rules, then it is hashed. At a login the hash is computed again and compared.
 * Hashes are slow on purpose, so calls take turns for them.
 *
 *   password.ts            hashes and compares, by argon2id
 *   hash-turns.ts          how many hashes run at once, and in which order calls get one; fair by network
 *   password-rules.ts      which passwords may be chosen; no I/O
 *   password-blocklist.ts  the passwords that attackers try first; no I/O
 *
 * The folder knows nothing of accounts, sessions or stores. It stores nothing, and logs no password.
 */
import { hash as argon2Hash, argon2id, verify as argon2Verify } from "argon2";
import { type KeyRing, logMissingVersion, masterKeyMissing } from "../../lib/key-ring.ts";
import type { Log } from "../../lib/log.ts";
import { type CallTurns, type HashCaller, HashTurns } from "./hash-turns.ts";
import { normalizePassword } from "./password-rules.ts";

export interface PasswordHasherOptions {
  readonly ring: KeyRing;
  readonly log: Log;
  /** Memory of one hash. OWASP's minimum is 19,456 KiB with two passes. */
  readonly memoryKib: number;
  readonly passes: number;
  /** Maximum hashes that run at once; see `hashConcurrency`. */
  readonly concurrency: number;
  /** As in HashTurnsOptions. */
  readonly maxQueue?: number;
  /** As in HashTurnsOptions. */
  readonly maxWaitMs?: number;
}

/**
 * Maximum hashes that one process may run at once. One core stays free for all other work, and the workers of a machine
 * share the other cores. One thread of the pool stays free too, because signatures and name resolution need it.
 *
 * @param poolThreads size of libuv's thread pool, UV_THREADPOOL_SIZE
 */
export function hashConcurrency(cores: number, workers: number, poolThreads = 4): number {
  return Math.max(1, Math.min(Math.floor((cores - 1) / workers), poolThreads - 1));
}

/** The parts of a stored password: `<ring version>` and a PHC string, whose parameters may come in any order. */
interface EncodedHash {
  readonly secretVersion: number;
  readonly phc: string;
  readonly memoryKib: number;
  readonly passes: number;
}

const ENCODED =
  /^([1-9]\d{0,4})(\$argon2id\$v=19\$((?:[mpt]=\d{1,7},){2}[mpt]=\d{1,7})\$[A-Za-z\d+/]{11,86}\$[A-Za-z\d+/]{22,86})$/;
const PARALLELISM = 1;

/**
 * Hashes passwords by argon2id (RFC 9106) with a secret (a pepper) that is not in the database. So the hashes of a
 * database dump alone can't be used to guess passwords.
 *
 * `hash` and `matches` compute at once. Call them only as the work of `CallTurns.hash`, which bounds how many run.
 */
export class PasswordHasher {
  readonly #options: PasswordHasherOptions;
  /** The turns of all calls, with their counts. */
  readonly turns: HashTurns;
  #hashes = 0;

  constructor(options: PasswordHasherOptions) {
    this.#options = options;
    this.turns = new HashTurns({ maxQueue: 32, maxWaitMs: 500, ...options });
  }

  /** Number of hashes begun so far. */
  get hashes(): number {
    return this.#hashes;
  }

  /** The turns of a call that will need a hash. It has no place yet. @throws CANCELLED if the signal has aborted */
  turnsOf(caller: HashCaller, signal?: AbortSignal): CallTurns {
    return this.turns.begin(caller, signal);
  }

  /** The form in which a password is stored. Costs one hash. */
  async hash(password: string): Promise<string> {
    const { ring, memoryKib, passes } = this.#options;
    this.#hashes++;
    const phc = await argon2Hash(normalizePassword(password), {
      type: argon2id,
      memoryCost: memoryKib,
      timeCost: passes,
      parallelism: PARALLELISM,
      secret: ring.currentKey("password-secret"),
    });
    return `${ring.current}${phc}`;
  }

  /**
   * Whether the password is the stored one. Costs one hash even if nothing is stored, so that the time of an answer
   * does not tell who has an account.
   *
   * @param stored what `hash` returned. Undefined matches no password; nor does a corrupt text, which is logged as an
   *   error
   * @throws MASTER_KEY_MISSING if the ring lacks the version under which the password was hashed
   */
  async matches(stored: string | undefined, password: string): Promise<boolean> {
    const encoded = stored === undefined ? undefined : this.#decode(stored);
    if (encoded === undefined) {
      await this.hash(password);
      return false;
    }
    const { ring, log } = this.#options;
    const secret = ring.derive("password-secret", encoded.secretVersion);
    if (secret === undefined) {
      logMissingVersion(log, encoded.secretVersion, { needed_by: "a stored password" });
      throw masterKeyMissing();
    }
    this.#hashes++;
    return argon2Verify(encoded.phc, normalizePassword(password), { secret });
  }

  /** Whether a stored password that just matched should be hashed again: weaker parameters, or an older secret. */
  needsRehash(stored: string): boolean {
    const encoded = decode(stored);
    if (encoded === undefined) return false;
    const { memoryKib, passes, ring } = this.#options;
    return encoded.memoryKib < memoryKib || encoded.passes < passes || ring.isBehind(encoded.secretVersion);
  }

  #decode(stored: string): EncodedHash | undefined {
    const encoded = decode(stored);
    if (encoded === undefined) this.#options.log.error("a stored password hash is corrupt; its owner can't log in");
    return encoded;
  }
}

function decode(stored: string): EncodedHash | undefined {
  const match = ENCODED.exec(stored);
  if (match === null) return undefined;
  const parameters = new Map(match[3]!.split(",").map((pair) => [pair[0], Number(pair.slice(2))]));
  const [memoryKib, passes, lanes] = [parameters.get("m"), parameters.get("t"), parameters.get("p")];
  if (memoryKib === undefined || passes === undefined || lanes !== PARALLELISM) return undefined;
  if (memoryKib < 8 || passes < 1 || passes > 100) return undefined;
  return { secretVersion: Number(match[1]), phc: match[2]!, memoryKib, passes };
}
