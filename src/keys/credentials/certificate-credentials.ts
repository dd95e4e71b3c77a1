import type { Change, ChangeBus, Copy } from "../../changes/change.ts";
import type { DatabaseClock } from "../../changes/database-clock.ts";
import type { AgeSources } from "../../changes/freshness.ts";
import { RecordCache } from "../../changes/record-cache.ts";
import { DomainError } from "../../lib/errors.ts";
import { hasEnded } from "../key.ts";
import type { KeyStore, NamedCredential } from "../key-store.ts";
import type { PresentedCredential } from "./service-credential.ts";

export interface CertificateCredentialsDeps extends AgeSources {
  readonly store: Pick<KeyStore, "readByCertificateNames">;
  /** Tells the cache of changes. */
  readonly bus: Pick<ChangeBus, "add">;
  readonly databaseClock: DatabaseClock;
  /** How long records may be served stale while the database is unreachable, see RecordCacheOptions. */
  readonly staleOkMs: number;
}

/** Finds the credential of one certificate. It holds no record, so that each call returns the current one. */
export interface CertificateLookup {
  /**
   * The credential if everything about the names is in memory and fresh, without waiting; `undefined` for a certificate
   * without one. Returns "unknown" if the names must be read.
   *
   * @throws CREDENTIAL_INVALID if the names stand for two credentials
   */
  fresh(): PresentedCredential | undefined | "unknown";
  /** The same, read if it must be. @throws CREDENTIAL_INVALID, DATABASE_UNAVAILABLE */
  find(): Promise<PresentedCredential | undefined>;
}

/** Maximum names in memory, and maximum names of which it is in memory that no credential has them. */
const MAX_NAMES = 10_000;
/** The subject of every absence. A name may come onto any credential's list, so each change of a credential ends all. */
const ANY_CREDENTIAL = "any service credential";

/**
 * Service credentials by the names of client certificates, from memory while they are fresh. Only names of certificates
 * that an authority of the service signed may be looked up, so strangers can neither fill this memory nor cause reads.
 */
export class CertificateCredentials implements Copy {
  readonly #deps: CertificateCredentialsDeps;
  readonly #cache: RecordCache<NamedCredential>;

  constructor(deps: CertificateCredentialsDeps) {
    this.#deps = deps;
    const { clock, feed, breaker, staleOkMs } = deps;
    this.#cache = new RecordCache<NamedCredential>({
      ...{ clock, feed, breaker, staleOkMs },
      kinds: ["SERVICE_CREDENTIAL"],
      tagsOf: ({ key }) => [key.id],
      maxEntries: MAX_NAMES,
      maxAbsent: MAX_NAMES,
    });
    deps.bus.add(this);
  }

  apply(change: Change): void {
    this.#cache.apply(change);
    if (change.kind === "SERVICE_CREDENTIAL") this.#cache.apply({ ...change, subjectId: ANY_CREDENTIAL });
  }

  clear(): void {
    this.#cache.clear();
  }

  /** @param names those of one certificate, each once */
  lookup(names: readonly string[]): CertificateLookup {
    const wanted = names.map((name) => ({ id: name, subjectId: ANY_CREDENTIAL }));
    return {
      fresh: () => {
        const found: NamedCredential[] = [];
        for (const name of names) {
          const loaded = this.#cache.fresh(name);
          if (loaded === undefined) return "unknown";
          if (loaded.record !== undefined) found.push(loaded.record);
        }
        return this.#only(found);
      },
      find: async () => {
        const loads = await this.#cache.getMany(wanted, (missing) => {
          const reading = this.#read(missing.map(({ id }) => id));
          return missing.map(async ({ id }) => (await reading).find(({ name }) => name === id));
        });
        const found: NamedCredential[] = [];
        for (const load of loads) {
          if (load.status === "rejected") throw load.reason;
          if (load.value.record !== undefined) found.push(load.value.record);
        }
        return this.#only(found);
      },
    };
  }

  async #read(names: readonly string[]): Promise<readonly NamedCredential[]> {
    const { store, clock, databaseClock } = this.#deps;
    const sentAtMs = clock.elapsedMs();
    const { credentials, databaseMs } = await store.readByCertificateNames(names);
    databaseClock.observe(databaseMs, sentAtMs);
    return credentials;
  }

  /**
   * The one credential that these names stand for. One that has ended counts only if there is no other, so that its use
   * can be recorded as refused.
   */
  #only(found: readonly NamedCredential[]): PresentedCredential | undefined {
    const [first] = found;
    if (first === undefined) return undefined;
    if (found.every(({ key }) => key.id === first.key.id)) return presented(first);
    const nowMs = this.#deps.databaseClock.nowMs();
    const live = found.filter(({ key }) => !hasEnded(key, nowMs));
    if (new Set(live.map(({ key }) => key.id)).size > 1) {
      throw new DomainError(
        "CREDENTIAL_INVALID",
        "the client certificate has names of two service credentials; put them on the list of one",
      );
    }
    return presented(live[0] ?? first);
  }
}

function presented({ key }: NamedCredential): PresentedCredential {
  return { key, secretExpiresAtMs: undefined };
}
