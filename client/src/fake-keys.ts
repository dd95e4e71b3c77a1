import type { Loaded } from "../../src/changes/record-cache.ts";
import { Change_Kind as Kind } from "../../src/gen/latchkey/v1/change_pb.ts";
import { compileNetworks } from "../../src/keys/allowed-ips.ts";
import type { Key, KeyOwner } from "../../src/keys/key.ts";
import type { KeyRecord } from "../../src/keys/key-records.ts";
import { ownLimit } from "../../src/keys/limit-requests.ts";
import { type Tier, Tiers } from "../../src/keys/tiers.ts";
import { checksum62 } from "../../src/lib/base62.ts";
import type { AgeClock } from "../../src/lib/clock.ts";
import { newId } from "../../src/lib/id.ts";
import { randomBase62 } from "../../src/lib/random.ts";
import type { LimitFigures } from "../../src/limits/limit.ts";
import { FAKE_EPOCH, type FakeChanges } from "./fake-changes.ts";
import type { FakeKey, FakeKeyOptions } from "./fake-controls.ts";

interface Entry {
  key: Key;
  readonly rawKey: string;
}

/** Keys are never stale here: each record is made for its call. */
const MAX_STALENESS_MS = 5000;
const ISSUER = "svc_0000000000000000";

export interface FakeKeysDeps {
  readonly clock: AgeClock;
  readonly changes: FakeChanges;
}

/** API keys and their owners in memory, as the records that the service's own rules judge. */
export class FakeKeys {
  readonly format: { readonly prefix: string; readonly environments: readonly string[] };
  readonly tiers: Tiers;
  readonly #clock: AgeClock;
  readonly #changes: FakeChanges;
  readonly #byRawKey = new Map<string, Entry>();
  readonly #byId = new Map<string, Entry>();
  readonly #owners = new Map<string, KeyOwner>();

  constructor({ clock, changes }: FakeKeysDeps, tiers: readonly [Tier, ...Tier[]], environments: readonly string[]) {
    this.#clock = clock;
    this.#changes = changes;
    this.tiers = new Tiers(tiers);
    this.format = { prefix: "kit", environments };
  }

  issue(options: FakeKeyOptions): FakeKey {
    const { tier = this.tiers.lowest.name, environment = this.format.environments[0]!, limits = {} } = options;
    if (!this.tiers.has(tier)) throw new TypeError(`issueKey: \`tier\` must be one of ${this.tiers.names.join(", ")}`);
    if (!this.format.environments.includes(environment)) {
      throw new TypeError(`issueKey: \`environment\` must be one of ${this.format.environments.join(", ")}`);
    }
    const { ownerId = newId("usr") } = options;
    if (!this.#owners.has(ownerId)) this.#setOwner(ownerId, "active");
    const id = newId("key");
    const front = `${this.format.prefix}_${environment}_${id.slice("key_".length)}`;
    const unchecked = front + randomBase62(43);
    const key: Key = Object.freeze({
      ...EMPTY,
      id,
      environment,
      tier,
      ownerId,
      name: options.name ?? "a key",
      prefix: front.slice(0, -13),
      scopes: [...(options.scopes ?? [])],
      metadata: { ...options.metadata },
      allowedIps: [...(options.allowedIps ?? [])],
      allowedMethods: [...(options.allowedMethods ?? [])],
      limits: { perMinute: limits.perMinute, perDay: limits.perDay } satisfies LimitFigures,
      createdAtMs: this.#clock.nowMs(),
      expiresAtMs: options.expiresAt?.getTime(),
    });
    const entry = { key, rawKey: unchecked + checksum62(unchecked) };
    this.#byRawKey.set(entry.rawKey, entry);
    this.#byId.set(id, entry);
    return { apiKey: entry.rawKey, id, ownerId };
  }

  /** @throws TypeError for an id that was not issued */
  change(id: string, changes: Partial<Pick<Key, "state" | "revokedAtMs" | "disabledBy" | "expiresAtMs">>): void {
    const entry = this.#byId.get(id);
    if (entry === undefined) throw new TypeError("there is no key with this id");
    // Revoked is final.
    if (entry.key.state !== "revoked") entry.key = Object.freeze({ ...entry.key, ...changes });
    this.#changes.note(Kind.KEY, id);
  }

  /** @throws TypeError for an owner without a key */
  changeOwner(id: string, state: KeyOwner["state"]): void {
    if (!this.#owners.has(id)) throw new TypeError("there is no owner with this id");
    this.#setOwner(id, state);
    this.#changes.note(Kind.OWNER, id);
  }

  /** The records as verify-key.ts asks for them. */
  readonly records = {
    fresh: (rawKey: string) => (this.#byRawKey.has(rawKey) ? this.#load(rawKey) : undefined),
    find: async (rawKey: string) => this.#load(rawKey),
    findAll: (lookups: readonly { readonly rawKey: string }[]) =>
      Promise.allSettled(lookups.map(async ({ rawKey }) => this.#load(rawKey))),
    findLimits: async (keyId: string) => this.#limitsOf(keyId),
    findLimitsOfAll: (keyIds: readonly string[]) =>
      Promise.allSettled(keyIds.map(async (keyId) => this.#limitsOf(keyId))),
  };

  #limitsOf(keyId: string): LimitFigures | undefined {
    const key = this.#byId.get(keyId)?.key;
    return key && this.tiers.effectiveLimits(key, this.#owners.get(key.ownerId!));
  }

  #load(rawKey: string): Loaded<KeyRecord> {
    const entry = this.#byRawKey.get(rawKey);
    return {
      record: entry && this.#recordOf(entry.key),
      source: "database",
      asOfMs: this.#clock.elapsedMs(),
      maxStalenessMs: MAX_STALENESS_MS,
      position: this.#changes.position,
      epoch: FAKE_EPOCH,
    };
  }

  #recordOf(key: Key): KeyRecord {
    const owner = this.#owners.get(key.ownerId!);
    const figures = this.tiers.effectiveLimits(key, owner);
    const isLimited = figures.perMinute !== undefined || figures.perDay !== undefined;
    return {
      key,
      owner,
      secretExpiresAtMs: undefined,
      tier: this.tiers.judged(key, owner).name,
      ownLimits: isLimited ? [ownLimit(figures)] : [],
      isAllowedIp: compileNetworks(key.allowedIps),
      shown: undefined,
    };
  }

  #setOwner(id: string, state: KeyOwner["state"]): void {
    this.#owners.set(id, { id, state, tier: this.tiers.names.at(-1)!, scopes: ["*"] });
  }
}

const EMPTY = {
  kind: "api",
  description: "",
  issuerId: ISSUER,
  state: "active",
  disabledBy: undefined,
  certificateNames: [],
  serviceControlled: false,
  revokedAtMs: undefined,
  lastUsedAtMs: undefined,
  version: 1,
} as const;
