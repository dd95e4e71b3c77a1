import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import type { SecretRehash } from "../../src/keys/key.ts";
import { newSecret } from "../../src/keys/key-secret.ts";
import { SecretRehasher } from "../../src/keys/secret-rehasher.ts";
import { KeyRing } from "../../src/lib/key-ring.ts";
import { recordingLog } from "../support/recording-log.ts";

const format = { prefix: "kit", environments: ["live"] };
const one = { version: 1, bytes: randomBytes(32) };
const two = { version: 2, bytes: randomBytes(32) };
const old = new KeyRing([one]);

function start() {
  const batches: (readonly SecretRehash[])[] = [];
  const state = { isAway: false };
  const log = recordingLog();
  const store = {
    rehashSecrets: async (rehashes: readonly SecretRehash[]) => {
      if (state.isAway) throw new Error("away");
      batches.push(rehashes);
      return rehashes.length;
    },
  };
  const rehasher = new SecretRehasher({ store, ring: new KeyRing([two, one]), log, maxSecrets: 2000 });
  const use = (count: number, ring = old) => {
    const made = Array.from({ length: count }, () => newSecret(ring, format, "live"));
    for (const { rawKey, secret } of made) rehasher.matched(rawKey, secret);
    return made;
  };
  return { rehasher, batches, state, log, use };
}

describe("used secrets", () => {
  it("are written once each in batches of at most 500, and only if they are behind", async () => {
    const { rehasher, batches, use } = start();
    const made = use(1100);
    for (const { rawKey, secret } of made) rehasher.matched(rawKey, secret);
    use(3, new KeyRing([two]));
    await rehasher.writer.flush();
    expect(batches.map((batch) => batch.length)).toEqual([500, 500, 100]);
    expect(batches.flat().map(({ from }) => from)).toEqual(made.map(({ secret }) => secret));
    await rehasher.writer.flush();
    expect(batches).toHaveLength(3);
  });

  it("are written later if the database is unreachable, and nothing is thrown", async () => {
    const { rehasher, batches, state, log, use } = start();
    use(2);
    state.isAway = true;
    await rehasher.writer.flush();
    expect(log.lines).toMatchObject([{ level: "warn", fields: { secrets: 2 } }]);
    use(1);
    state.isAway = false;
    await rehasher.writer.stop();
    expect(batches.map((batch) => batch.length)).toEqual([3]);
    expect(log.lines.at(-1)).toMatchObject({ level: "info", fields: { secrets: 3, version: 2 } });
  });

  it("are noted up to maxSecrets while the database is unreachable", async () => {
    const { rehasher, batches, use } = start();
    const { rawKey } = use(1)[0]!;
    for (let n = 0; n < 2010; n++) {
      rehasher.matched(rawKey, { digest: Buffer.from(`digest ${n}`), pepperVersion: 1, expiresAtMs: undefined });
    }
    await rehasher.writer.flush();
    expect(batches.flat()).toHaveLength(2000);
  });
});
