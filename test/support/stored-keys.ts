/** Keys as stores have them, and their owners. */
import { randomBytes } from "node:crypto";
import type { KeyStore, NewKey } from "../../src/keys/key-store.ts";
import { newId } from "../../src/lib/id.ts";
import type { TestDatabase } from "./database.ts";

export const ENTRY = { kind: "key.updated", actorId: "usr_0000000000000000", clientIp: "192.0.2.1" } as const;

/** Inserts a person in this state, and returns the id. */
export async function newOwner({ database }: TestDatabase, state = "active"): Promise<string> {
  const id = newId("usr");
  await database.write(
    `insert into users (id, email, email_normalized, display_name, tier, scopes, state, password_version, created_at)
     values (?, ?, ?, '', 'basic', '{*}', ?, 0, ${database.now})`,
    [id, `${id}@example.com`, `${id}@example.com`, state],
  );
  return id;
}

/** A key to insert. All its texts have characters that need quoting. */
export function newKey(ownerId: string, more: Partial<NewKey["key"]> = {}): NewKey {
  return {
    key: {
      id: newId("key"),
      kind: "api",
      environment: "live",
      name: "a name with \"quotes\", {braces} and 'ticks'",
      description: "",
      prefix: "kit_live_abc",
      ownerId,
      issuerId: ownerId,
      tier: "basic",
      scopes: ["orders:read", 'odd,"scope}'],
      metadata: { team: 'a "b" {c}' },
      allowedIps: ["192.0.2.0/24"],
      allowedMethods: ["/shop.v1.Orders/*"],
      certificateNames: [],
      limits: { perMinute: 7, perDay: undefined },
      serviceControlled: false,
      expiresAtMs: undefined,
      ...more,
    },
    secret: { digest: randomBytes(32), pepperVersion: 1, expiresAtMs: undefined },
    request: undefined,
    ownerQuota: 100,
  };
}

/** Inserts a key. @throws Error if the store refuses it */
export async function inserted(store: KeyStore, wanted: NewKey) {
  const outcome = await store.insert(wanted, ENTRY);
  if (outcome.kind !== "inserted") throw new Error(outcome.kind);
  return outcome.key;
}
