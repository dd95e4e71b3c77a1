import type { KeyRead } from "../keys/key-store.ts";
import { type Database, msOf } from "./database.ts";
import { keysWithSecretsSql, toKeysWithSecrets } from "./key-rows.ts";

/** Of the connections for hot reads one is left to everybody else. */
const MAX_UNDER_WAY = 3;
/** Keys of one statement, unless one caller asks for more. */
const MAX_GROUP = 256;

interface Waiting {
  readonly keyIds: readonly string[];
  readonly resolve: (read: KeyRead) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * The hot read of keys. All that are asked for in one turn of the event loop, or while the statements before are under
 * way, go as one statement: a process that starts under load misses hundreds of keys at once, and one by one they would
 * wait for connections until that looks like an outage.
 *
 * A statement is sent after each of its callers has asked, so that it sees all that was committed before.
 */
export class KeyReads {
  readonly #database: Database;
  #waiting: Waiting[] = [];
  #underWay = 0;

  constructor(database: Database) {
    this.#database = database;
  }

  /** The keys that exist, with owners and secrets, deleted ones left out. @throws DATABASE_UNAVAILABLE */
  read(keyIds: readonly string[]): Promise<KeyRead> {
    const { promise, resolve, reject } = Promise.withResolvers<KeyRead>();
    if (this.#waiting.length === 0) setImmediate(() => this.#send());
    this.#waiting.push({ keyIds, resolve, reject });
    return promise;
  }

  #send(): void {
    while (this.#waiting.length > 0 && this.#underWay < MAX_UNDER_WAY) void this.#readGroup(this.#takeGroup());
  }

  #takeGroup(): readonly Waiting[] {
    let [keys, callers] = [0, 0];
    for (const { keyIds } of this.#waiting) {
      if (callers > 0 && keys + keyIds.length > MAX_GROUP) break;
      keys += keyIds.length;
      callers++;
    }
    return this.#waiting.splice(0, callers);
  }

  async #readGroup(group: readonly Waiting[]): Promise<void> {
    this.#underWay++;
    try {
      const keyIds = new Set(group.flatMap((one) => one.keyIds));
      // Ids are base62 with an underscore: nothing in them needs quoting inside an array literal.
      const sql = keysWithSecretsSql(this.#database.now);
      const rows = await this.#database.read(sql, [`{${[...keyIds].join(",")}}`]);
      const databaseMs = msOf(rows[0]?.now_ms);
      const found = new Map(toKeysWithSecrets(rows).map((key) => [key.key.id, key]));
      for (const one of group) {
        const keys = one.keyIds.map((id) => found.get(id)).filter((key) => key !== undefined);
        one.resolve({ keys, databaseMs });
      }
    } catch (error) {
      // Those who wait as well: behind one that was lost they would only be lost later, and times would add up.
      for (const one of [...group, ...this.#waiting.splice(0)]) one.reject(error);
    } finally {
      this.#underWay--;
      this.#send();
    }
  }
}
