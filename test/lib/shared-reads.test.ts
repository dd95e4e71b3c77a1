import { expect, it } from "vitest";
import { SharedReads } from "../../src/lib/shared-reads.ts";

/** Reads that the test ends. */
function setUp(maxUnderWay: number) {
  const reads = new SharedReads(maxUnderWay);
  const sent: { what: string; end: PromiseWithResolvers<string> }[] = [];
  const read = (what: string) =>
    reads.read(what, () => {
      const end = Promise.withResolvers<string>();
      sent.push({ what, end });
      return end.promise;
    });
  return { sent, read };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

it("at most maxUnderWay reads are under way, in the order of their requests", async () => {
  const { sent, read } = setUp(2);
  const all = ["a", "b", "c", "d"].map(read);
  await settled();
  expect(sent.map(({ what }) => what)).toEqual(["a", "b"]);
  sent[1]!.end.resolve("B");
  await settled();
  expect(sent.map(({ what }) => what)).toEqual(["a", "b", "c"]);
  for (const each of sent) each.end.resolve("x");
  await settled();
  sent[3]!.end.resolve("D");
  expect(await Promise.all(all)).toEqual(["x", "B", "x", "D"]);
});

it("a caller that requests a waiting read shares it, and it is sent after the request", async () => {
  const { sent, read } = setUp(1);
  const first = read("a");
  const later = [read("a"), read("a")];
  await settled();
  expect(sent).toHaveLength(1);
  sent[0]!.end.resolve("old");
  await settled();
  sent[1]!.end.resolve("new");
  expect(await Promise.all([first, ...later])).toEqual(["old", "new", "new"]);
  expect(sent).toHaveLength(2);
});

it("each caller of a shared read is told when it is sent", async () => {
  const reads = new SharedReads(1);
  const first = Promise.withResolvers<void>();
  const told: string[] = [];
  const ask = (what: string, who: string) =>
    reads.read(
      what,
      () => first.promise,
      () => told.push(who),
    );
  const all = [ask("a", "x"), ask("b", "y"), ask("b", "z")];
  await settled();
  expect(told).toEqual(["x"]);
  first.resolve();
  await Promise.all(all);
  expect(told).toEqual(["x", "y", "z"]);
});

it("a failed read fails for all its callers, and the next one is sent", async () => {
  const { sent, read } = setUp(1);
  const failing = Promise.allSettled([read("a"), read("c"), read("c")]);
  const next = read("b");
  await settled();
  sent[0]!.end.reject(new Error("away"));
  await settled();
  sent[1]!.end.reject(new Error("away"));
  expect((await failing).map(({ status }) => status)).toEqual(["rejected", "rejected", "rejected"]);
  await settled();
  sent[2]!.end.resolve("b");
  expect(await next).toBe("b");
});
