import { hash as argon2Hash, argon2id, verify as argon2Verify } from "argon2";
import { DomainError } from "../../lib/errors.ts";
import type { KeyRing } from "../../lib/key-ring.ts";
import type { Log } from "../../lib/log.ts";
import { type CallTurns, type HashCaller, HashTurns } from "./hash-turns.ts";
import { normalizePassword } from "./password-rules.ts";

export interface PasswordHasherOptions {
  readonly ring: KeyRing;
  readonly log: Log;
  /** Memory of one hash. OWASP's floor is 19,456 with two passes. */
  readonly memoryKib: number;
  readonly passes: number;
  /** How many hashes run at once, see `hashConcurrency`. */
  readonly concurrency: number;
  /** How many calls may wait for a hash, and how many more to be judged before that. */
  readonly maxQueue?: number;
  /** How long a call may be here before its first hash, and wait for each further one. */
  readonly maxWaitMs?: number;
}

/**
 * How many hashes one process may run at once: a core stays free for everything else, the workers of a machine share
 * the others, and one thread of the pool stays free for signatures and name resolution, which would else wait for
 * hashes.
 *
 * @param poolThreads size of libuv's thread pool, UV_THREADPOOL_SIZE
 */
export function hashConcurrency(cores: number, workers: number, poolThreads = 4): number {
  return Math.max(1, Math.min(Math.floor((cores - 1) / workers), poolThreads - 1));
}

/** What a stored password says: `<ring version>` and a PHC string, whose parameters may come in any order. */
interface EncodedHash {
  readonly secretVersion: number;
  readonly phc: string;
  readonly memoryKib: number;
  readonly passes: number;
}

const ENCODED =
  /^([1-9]\d{0,4})(\$argon2id\$v=19\$((?:[mpt]=\d{1,7},){2}[mpt]=\d{1,7})\$[A-Za-z\d+/]{11,86}\$[A-Za-z\d+/]{22,86})$/;
const PARALLELISM = 1;

/** Runs when a hash's turn has come, before it begins: what is shed never gets there. If it throws, there is no hash. */
type OnTurn = () => Promise<void>;

/**
 * Hashes passwords by argon2id (RFC 9106) with a secret that is not in the database, so that a dump alone can't be
 * guessed at. Bounded: so many run, so many wait, the rest is refused at once; without bounds a burst of logins would
 * starve every other call of this process.
 */
export class PasswordHasher {
  readonly #options: PasswordHasherOptions;
  readonly #turns: HashTurns;
  #hashes = 0;

  constructor(options: PasswordHasherOptions) {
    this.#options = options;
    this.#turns = new HashTurns({ maxQueue: 32, maxWaitMs: 500, ...options });
  }

  /** How many hashes were begun so far. */
  get hashes(): number {
    return this.#hashes;
  }

  /**
   * Lets a call that will want a hash take its turns. It has no place yet: what has to wait anyway takes none from others.
   * @throws CANCELLED when the signal has aborted
   */
  turnsOf(caller: HashCaller, signal?: AbortSignal): PasswordTurns {
    return new PasswordTurns(this.#turns.begin(caller, signal), {
      hash: (password) => this.#hash(password),
      matches: (stored, password) => this.#matches(stored, password),
    });
  }

  /** One hash in a turn of its own, as `PasswordTurns` has it. */
  async hash(password: string, signal?: AbortSignal, onTurn?: OnTurn): Promise<string> {
    using turns = this.turnsOf(ALONE, signal);
    return await turns.hash(password, onTurn);
  }

  /** One judgement in a turn of its own, as `PasswordTurns` has it. */
  async matches(stored: string | undefined, password: string, signal?: AbortSignal, onTurn?: OnTurn): Promise<boolean> {
    using turns = this.turnsOf(ALONE, signal);
    return await turns.matches(stored, password, onTurn);
  }

  /** Whether a stored password that was just matched should be hashed anew: weaker parameters, or an older secret. */
  needsRehash(stored: string): boolean {
    const encoded = decode(stored);
    if (encoded === undefined) return false;
    const { memoryKib, passes, ring } = this.#options;
    return encoded.memoryKib < memoryKib || encoded.passes < passes || ring.isBehind(encoded.secretVersion);
  }

  async #matches(stored: string | undefined, password: string): Promise<boolean> {
    const encoded = stored === undefined ? undefined : this.#decode(stored);
    if (encoded === undefined) {
      await this.#hash(password);
      return false;
    }
    const secret = this.#options.ring.derive("password-secret", encoded.secretVersion);
    if (secret === undefined) throw missingVersion(this.#options.log, encoded.secretVersion);
    this.#hashes++;
    return argon2Verify(encoded.phc, normalizePassword(password), { secret });
  }

  async #hash(password: string): Promise<string> {
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

  #decode(stored: string): EncodedHash | undefined {
    const encoded = decode(stored);
    if (encoded === undefined) this.#options.log.error("a stored password hash is corrupt; its owner can't log in");
    return encoded;
  }
}

/** A hash that no call wants. */
const ALONE: HashCaller = { networks: [], isDoubtful: false, isKnown: false };

/** The work itself, without waiting for a turn. */
interface Hashing {
  hash(password: string): Promise<string>;
  matches(stored: string | undefined, password: string): Promise<boolean>;
}

/** The turns of one call: it is judged first, and then may have hashes made, one after the other. */
export class PasswordTurns implements Disposable {
  readonly #turns: CallTurns;
  readonly #hashing: Hashing;

  constructor(turns: CallTurns, hashing: Hashing) {
    this.#turns = turns;
    this.#hashing = hashing;
  }

  /**
   * Runs what finds out whether the call may have a hash, a few calls at once.
   * @throws OVERLOADED when its turn is long in coming, CANCELLED when the signal aborts before it came
   */
  judge<T>(work: () => Promise<T>): Promise<T> {
    return this.#turns.judge(work);
  }

  /**
   * The form in which a password is kept.
   *
   * @throws OVERLOADED when its turn is long in coming, CANCELLED when the signal aborts before it came
   */
  hash(password: string, onTurn?: OnTurn): Promise<string> {
    return this.#turns.hash(async () => {
      await onTurn?.();
      return this.#hashing.hash(password);
    });
  }

  /**
   * Whether the password is the stored one. Costs one hash, whether anything is stored or not, so that the time of the
   * answer does not tell who has an account.
   *
   * @param stored what `hash` returned; undefined matches nothing, and so does what is corrupt (with an error in the log)
   * @throws MASTER_KEY_MISSING when the ring lacks the version it was hashed under, and as `hash` does
   */
  matches(stored: string | undefined, password: string, onTurn?: OnTurn): Promise<boolean> {
    return this.#turns.hash(async () => {
      await onTurn?.();
      return this.#hashing.matches(stored, password);
    });
  }

  [Symbol.dispose](): void {
    this.#turns[Symbol.dispose]();
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

function missingVersion(log: Log, version: number): DomainError {
  log.error("LATCHKEY_MASTER_KEYS lacks a version that stored data needs", { version, needed_by: "a password" });
  return new DomainError("MASTER_KEY_MISSING", "the service lacks a key that it needs; try again later");
}
