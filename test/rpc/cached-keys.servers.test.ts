import { expect, it } from "vitest";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { startTestService } from "../support/in-process-service.ts";

const KEYS = 100;
const AT_ONCE = 5;
/** The bound in bytes on the cached records of a service whose cache has room for 1,000 keys. */
const BYTES = 1000 * 1536;
const VALUE = "漢".repeat(512);
const FAT_VALUES = 7;
/** Time after which the feed has reported each key, even on a slow machine. */
const SETTLED_MS = 60_000;
/** Bytes of the metadata alone: 16 bits a character, and 24 bits as UTF-8. */
const FAT_BYTES = FAT_VALUES * 512 * (2 + 3);

it(
  "the cache is bounded by bytes for keys with the most metadata, and by their number for usual keys",
  async () => {
    await using service = await startTestService({ LATCHKEY_CACHED_KEYS: "1000", LATCHKEY_KEYS_PER_OWNER: "1000" });
    const verifier = service.client(KeyService, await service.newCredential("verify"));
    const { keys } = await service.newPerson();
    const kept = async () => {
      const text = await (await fetch(`http://${service.opsAddress}/metrics`)).text();
      return Number(/^latchkey_key_records (\d+)$/m.exec(text)?.[1]);
    };
    const verifyNew = async (metadata: Record<string, string>) => {
      const { apiKey } = await keys.issueKey({ name: "a key", metadata });
      expect(await verifier.verifyKey({ apiKey })).toMatchObject({ valid: true, key: { metadata } });
      return apiKey;
    };
    const verifyManyNew = async (metadata: Record<string, string>) => {
      const apiKeys: string[] = [];
      // Only a few calls at once, because each waits for the lock on the owner.
      while (apiKeys.length < KEYS) {
        apiKeys.push(...(await Promise.all(Array.from({ length: AT_ONCE }, () => verifyNew(metadata)))));
      }
      return apiKeys;
    };
    // The feed reports each key once more after its issue, and the service reads it again. So verify all, then count.
    const keptAfter = async (apiKeys: readonly string[]) => {
      await Promise.all(apiKeys.map((apiKey) => verifier.verifyKey({ apiKey })));
      return kept();
    };
    const usual = await verifyManyNew({});
    await expect.poll(() => keptAfter(usual), { timeout: SETTLED_MS }).toBeGreaterThanOrEqual(KEYS);
    const fat = await verifyManyNew(Object.fromEntries(Array.from({ length: FAT_VALUES }, (_, n) => [`${n}`, VALUE])));
    // The usual keys were used longest ago, so they are evicted. One record more is the verifier's own credential.
    const fatBytes = async () => ((await keptAfter(fat)) - 1) * FAT_BYTES;
    await expect.poll(fatBytes, { timeout: SETTLED_MS }).toBeLessThan(BYTES);
    expect(await kept()).toBeGreaterThan(5);
  },
  3 * SETTLED_MS,
);
