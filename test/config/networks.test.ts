import { BlockList } from "node:net";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type ConfigError, readConfig } from "../../src/config/config.ts";
import { coverEveryClient, proxyNetwork } from "../../src/config/networks.ts";

const MASTER_KEY = `1:${Buffer.from(Array.from({ length: 32 }, (_, n) => n * 7)).toString("base64")}`;
const PRODUCTION = {
  NODE_ENV: "production",
  LATCHKEY_MASTER_KEYS: MASTER_KEY,
  DATABASE_URL: "postgres://localhost/latchkey",
  REDIS_URL: "redis://localhost",
};

/** The faults of a production start that concern proxies. */
function proxyFaults(networks: string, environment: Record<string, string> = PRODUCTION): readonly string[] {
  try {
    readConfig({ ...environment, LATCHKEY_TRUSTED_PROXIES: networks });
    return [];
  } catch (error) {
    return (error as ConfigError).faults.filter((fault) => fault.startsWith("LATCHKEY_TRUSTED_PROXIES"));
  }
}

describe("a production start refuses networks that together cover every client:", () => {
  it.each([
    "0.0.0.0/0",
    "10.0.0.1, 0.0.0.0/1, 128.0.0.0/1",
    "128.0.0.0/1, 64.0.0.0/2, 0.0.0.0/2",
    "0.0.0.0/1, 10.0.0.0/8, 127.0.0.1, 128.0.0.0/2, 192.0.0.0/2",
    // Without what no client comes from.
    "1.0.0.0/8,2.0.0.0/7,4.0.0.0/6,8.0.0.0/5,16.0.0.0/4,32.0.0.0/3,64.0.0.0/2,128.0.0.0/2,192.0.0.0/3",
    "::/0",
    "::/1, 8000::/1",
    "2000::/3",
    "2000::/4, 3000::/4",
    "::ffff:0:0/96",
    "::ffff:0.0.0.0/97, ::ffff:128.0.0.0/97",
    "0.0.0.0/1, ::ffff:8000:0/97",
  ])("%s", (networks) => {
    expect(proxyFaults(networks)).toEqual([expect.stringMatching(/lets every client choose its address/)]);
    expect(proxyFaults(networks, {}), "development starts").toEqual([]);
  });

  it.each(["", "10.0.0.0/8", "0.0.0.0/1", "10.0.0.0/8, fd00::/8, 2001:db8::/32", "::1, 127.0.0.0/8", "::/64"])(
    "it accepts %s",
    (networks) => expect(proxyFaults(networks)).toEqual([]),
  );

  it("it does so however the addresses are divided, but not if a public network is missing", () => {
    /** Halves networks, and the halves again. */
    function divided(choices: readonly number[]): string[] {
      const networks = [{ first: 0, bits: 0 }];
      for (const choice of choices) {
        const at = choice % networks.length;
        const { first, bits } = networks[at]!;
        if (bits >= 24) continue;
        const half = 2 ** (31 - bits);
        networks.splice(at, 1, { first, bits: bits + 1 }, { first: first + half, bits: bits + 1 });
      }
      const dotted = (value: number) => [24, 16, 8, 0].map((shift) => (value / 2 ** shift) & 255).join(".");
      return networks.map(({ first, bits }) => `${dotted(first)}/${bits}`);
    }
    const PUBLIC = ["1.1.1.1", "8.8.8.8", "100.0.0.1", "130.0.0.1", "193.0.0.1", "223.255.255.254"];
    fc.assert(
      fc.property(fc.array(fc.nat(1000), { maxLength: 40 }), fc.nat(1000), (choices, drop) => {
        const networks = divided(choices);
        expect(coverEveryClient(networks)).toBe(true);
        const rest = networks.filter((_, at) => at !== drop % networks.length);
        const list = new BlockList();
        for (const network of rest) list.addSubnet(network.split("/")[0]!, Number(network.split("/")[1]));
        if (PUBLIC.some((address) => !list.check(address))) expect(coverEveryClient(rest)).toBe(false);
      }),
    );
  });
});

describe("a proxy's network", () => {
  it.each([
    ["10.1.2.3", "10.1.2.3/32"],
    ["10.0.0.0/8", "10.0.0.0/8"],
    ["::1", "::1/128"],
    ["fd00::/8", "fd00::/8"],
    ["::ffff:10.0.0.0/104", "10.0.0.0/8"],
    ["::ffff:10.1.2.3", "10.1.2.3/32"],
  ])("%s is read as %s", (text, network) => expect(proxyNetwork(text)).toBe(network));

  it.each([
    "",
    "x",
    "10.0.0.0/33",
    "10.0.0.0/",
    "10.0.0.0/8/8",
    "::/129",
    "fe80::%eth0/10",
    "::ffff:10.0.0.0/95",
    "10.0.0/8",
  ])("%s is refused", (text) => expect(() => proxyNetwork(text)).toThrow(/^must be networks/));
});
