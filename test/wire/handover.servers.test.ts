/** A password reset revokes keys: every process refuses them, also if another process made the reset. */
import { expect, it } from "vitest";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { Freshness_Source, KeyService, Verdict } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { PASSWORD } from "../support/clients.ts";
import { freshUrl } from "../support/database.ts";
import { startFleet } from "../support/fleet.ts";
import { clientOf } from "../support/in-process-service.ts";
import { canStart } from "../support/shared-servers.ts";

/** No process accepts a revoked key later than this after the reset. */
const BOUND_MS = 5000;

it.skipIf(!canStart("postgres"))(
  "keys that a reset revoked are REVOKED on each of two processes within 5 s",
  async () => {
    await using fleet = await startFleet({ DATABASE_URL: await freshUrl() }, [{}, {}]);
    const [here, there] = fleet.processes.map(({ address }) => address) as [string, string];
    const anyone = clientOf(here, AuthService);
    const { user, tokens } = await anyone.register({ email: "squatter@example.com", password: PASSWORD });
    const keys = clientOf(here, KeyService, tokens!.accessToken);
    const issued = await Promise.all(Array.from({ length: 20 }, (_, n) => keys.issueKey({ name: `key ${n}` })));
    const verifiers = [here, there].map((address) => clientOf(address, KeyService, fleet.admin));
    const ask = (verifier: (typeof verifiers)[number]) =>
      Promise.all(issued.map(({ apiKey }) => verifier.verifyKey({ apiKey, cost: 0 })));
    const isHot = async (verifier: (typeof verifiers)[number]) =>
      (await ask(verifier)).every(
        ({ verdict, freshness }) => verdict === Verdict.VALID && freshness?.source === Freshness_Source.CACHE,
      );
    // Each process has the keys in its cache. So a later refusal shows that the revocation reached it.
    for (const verifier of verifiers) await expect.poll(() => isHot(verifier), { timeout: 30_000 }).toBe(true);

    const { resetToken } = await clientOf(here, AdminService, fleet.admin).createPasswordReset({ userId: user!.id });
    const { revokedKeys } = await anyone.completePasswordReset({ resetToken, newPassword: `${PASSWORD} again` });
    const acknowledgedAtMs = performance.now();
    expect(revokedKeys).toBe(issued.length);
    // The process of the reset refuses the keys before it answers.
    expect((await ask(verifiers[0]!)).map(({ verdict }) => verdict)).toEqual(issued.map(() => Verdict.REVOKED));
    for (;;) {
      const askedAtMs = performance.now();
      const verdicts = new Set((await ask(verifiers[1]!)).map(({ verdict }) => verdict));
      if (verdicts.size === 1 && verdicts.has(Verdict.REVOKED)) break;
      expect(askedAtMs - acknowledgedAtMs).toBeLessThan(BOUND_MS);
    }
  },
  120_000,
);
