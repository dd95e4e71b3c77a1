/** One contract for the streams of each framework that has them. */
import { Code } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type OpenStream, refusalOf, STREAM_DOORS } from "./stream-doors.ts";
import type { World } from "./world.ts";

export function streamContract(start: () => Promise<World>): void {
  let world: World;
  beforeAll(async () => {
    world = await start();
  });
  afterAll(() => world[Symbol.asyncDispose]());

  describe.each(STREAM_DOORS)("a stream of $name", (door) => {
    it("goes on while others' keys are revoked and its own is renamed, and ends soon after it is revoked", async () => {
      await using running = await door.start(world.latchkey, "requireApiKey");
      const [own, other] = [await world.newKey(), await world.newKey()];
      const stream = await running.open(own.apiKey);
      await using changes = changesOf(world);
      await world.revokeKey(other.id);
      await changes.told(other.id);
      await stream.next();
      await world.renameKey(own.id);
      await changes.told(own.id);
      await stream.next();
      await world.revokeKey(own.id);
      expect(await endOf(stream)).toMatchObject({ code: Code.Unauthenticated, refusal: "REVOKED" });
      // The handler is told.
      await expect.poll(() => running.handlers).toBe(0);
    });

    it("ends soon after the owner of its key is disabled", async () => {
      await using running = await door.start(world.latchkey, "requireApiKey");
      const { apiKey, ownerId } = await world.newKey();
      const stream = await running.open(apiKey);
      await world.disableOwner(ownerId);
      expect(await endOf(stream)).toMatchObject({ code: Code.PermissionDenied, refusal: "OWNER_DISABLED" });
    });

    it("ends soon after the session of its access token", async () => {
      await using running = await door.start(world.latchkey, "requireUser");
      const token = await world.newToken();
      const stream = await running.open(token.accessToken);
      await stream.next();
      await world.endSessions(token);
      expect(await endOf(stream)).toMatchObject({ code: Code.Unauthenticated, refusal: "TOKEN_INVALID" });
    });

    it("is refused at its start as other calls are", async () => {
      await using running = await door.start(world.latchkey, "requireApiKey");
      const { apiKey, id } = await world.newKey();
      await world.revokeKey(id);
      expect(refusalOf(await running.open(apiKey).catch((error) => error))).toBe("REVOKED");
      expect(running.handlers).toBe(0);
    });

    it("is no longer judged once its caller has ended it", async () => {
      await using running = await door.start(world.latchkey, "requireApiKey");
      const { apiKey, id } = await world.newKey();
      const stream = await running.open(apiKey);
      stream.cancel();
      await expect.poll(() => running.handlers).toBe(0);
      await using changes = changesOf(world);
      const before = world.latchkey.stats().calls;
      await world.renameKey(id);
      await changes.told(id);
      expect(world.latchkey.stats().calls).toBe(before);
    });
  });
}

async function endOf(stream: OpenStream): Promise<{ code: Code; refusal: string | undefined }> {
  const error = await stream.end();
  return { code: error.code, refusal: refusalOf(error) };
}

/** The changes that the client is told from now on. */
function changesOf({ latchkey }: World) {
  const told: string[] = [];
  const remove = latchkey.on("change", ({ id }) => told.push(id));
  return {
    async told(id: string) {
      await expect.poll(() => told, { timeout: 10_000 }).toContain(id);
    },
    async [Symbol.asyncDispose]() {
      remove();
    },
  };
}
