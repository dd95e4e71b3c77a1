import { expect, it } from "vitest";
import { ChangeBus } from "../../src/changes/change.ts";
import { ForgottenDenials } from "../../src/keys/forgotten-denials.ts";
import { keySubject } from "../../src/keys/limit-requests.ts";
import { limits, newLimiter } from "../limits/new-limiter.ts";

it("a reset by another process holds as soon as the change feed tells of it", async () => {
  const { store, limiter } = newLimiter();
  const bus = new ChangeBus();
  bus.add(new ForgottenDenials(limiter));
  const request = { subject: keySubject("key_a"), cost: 10, limits };
  await limiter.decide(request);
  expect((await limiter.decide(request)).allowed).toBe(false);
  await store.reset(request.subject, []);
  expect((await limiter.decide(request)).allowed, "the control: the denial is remembered").toBe(false);
  bus.publish([
    { kind: "KEY", subjectId: "key_b" },
    { kind: "OWNER", subjectId: "key_a" },
  ]);
  expect((await limiter.decide(request)).allowed).toBe(false);
  bus.publish([{ kind: "KEY", subjectId: "key_a" }]);
  expect((await limiter.decide(request)).allowed).toBe(true);

  expect((await limiter.decide(request)).allowed).toBe(false);
  await store.reset(request.subject, []);
  bus.clear();
  expect((await limiter.decide(request)).allowed).toBe(true);
  limiter.close();
});
