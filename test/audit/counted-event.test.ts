import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { added, type CountedDetails } from "../../src/audit/counted-event.ts";

const MOST_NAMES = 16;

describe("details of an event that counts", () => {
  it("add up tallies by name, and keep the latest value of a fact", () => {
    const first = added({}, { count: "2", account: "a1", reason: "revoked", "from 192.0.2.0/24": "2" });
    const second = added(first, {
      count: "3",
      reason: "expired",
      "from 192.0.2.0/24": "1",
      "from 198.51.100.0/24": "2",
    });
    expect(second).toEqual({
      count: "5",
      account: "a1",
      reason: "expired",
      "from 192.0.2.0/24": "3",
      "from 198.51.100.0/24": "2",
    });
  });

  it("are bounded for any entries in any order, and their tallies add up to the count", () => {
    const entry = fc.record({
      network: fc.nat(40),
      by: fc.constantFrom("login", "change_password"),
      n: fc.integer({ min: 1, max: 9 }),
    });
    fc.assert(
      fc.property(fc.array(entry, { minLength: 1, maxLength: 120 }), (entries) => {
        const sum = entries.reduce<CountedDetails>(
          (details, { network, by, n }) =>
            added(details, { count: `${n}`, [`from 10.0.${network}.0/24`]: `${n}`, [`by ${by}`]: `${n}` }),
          { count: "0" },
        );
        for (const group of ["from ", "by "]) {
          const tallies = Object.entries(sum).filter(([name]) => name.startsWith(group));
          expect(tallies.length).toBeLessThanOrEqual(MOST_NAMES + 1);
          expect(tallies.reduce((total, [, value]) => total + Number(value), 0)).toBe(Number(sum.count));
        }
      }),
    );
  });

  it("name the first networks of many, and count the others together", () => {
    let details: CountedDetails = { count: "0" };
    for (let n = 0; n < 40; n++) details = added(details, { count: "1", [`from 10.0.${n}.0/24`]: "1" });
    expect(details).toMatchObject({ count: "40", "from 10.0.0.0/24": "1", "from others": "24" });
    expect(added(details, { count: "1", "from 10.0.0.0/24": "1" })["from 10.0.0.0/24"]).toBe("2");
  });
});
