/** Names in the environment that begin like a setting: which are let be, and which stop a start. */
import { describe, expect, it } from "vitest";
import { type Environment, readConfig, SETTINGS } from "../../src/config/config.ts";
import { CLIENT_VARIABLES, hasLinkName, judgeNames } from "../../src/config/names.ts";

/** The links that Kubernetes sets in each pod for a Service with these ports (FromServices in pkg/kubelet/envvars). */
function kubernetesLinks(
  service: string,
  ip: string,
  ports: readonly (readonly [number, string, string?])[],
): Environment {
  const prefix = service.toUpperCase().replaceAll("-", "_");
  const host = ip.includes(":") ? `[${ip}]` : ip;
  const urls = ports.map(([port, protocol]) => `${protocol.toLowerCase()}://${host}:${port}`);
  const entries = ports.flatMap(([port, protocol, name], index) => {
    const one = `${prefix}_PORT_${port}_${protocol}`;
    return [
      ...(name === undefined ? [] : [[`${prefix}_SERVICE_PORT_${name.toUpperCase().replaceAll("-", "_")}`, `${port}`]]),
      [one, urls[index]],
      [`${one}_PROTO`, protocol.toLowerCase()],
      [`${one}_PORT`, `${port}`],
      [`${one}_ADDR`, ip],
    ];
  });
  return Object.fromEntries([
    [`${prefix}_SERVICE_HOST`, ip],
    [`${prefix}_SERVICE_PORT`, `${ports[0]![0]}`],
    [`${prefix}_PORT`, urls[0]],
    ...entries,
  ]);
}

/** The links that Docker sets for `--link redis-1:alias` to a container of `web` that exposes 6379 and 16379 to 16381. */
function dockerLinks(alias: string, container: string): Environment {
  return {
    [`${alias}_NAME`]: `/web/${container}`,
    [`${alias}_PORT`]: "tcp://172.17.0.5:6379",
    [`${alias}_PORT_6379_TCP`]: "tcp://172.17.0.5:6379",
    [`${alias}_PORT_6379_TCP_ADDR`]: "172.17.0.5",
    [`${alias}_PORT_6379_TCP_PORT`]: "6379",
    [`${alias}_PORT_6379_TCP_PROTO`]: "tcp",
    [`${alias}_PORT_16379_TCP_START`]: "tcp://172.17.0.5:16379",
    [`${alias}_PORT_16379_TCP_END`]: "tcp://172.17.0.5:16381",
    [`${alias}_PORT_16379_TCP_PORT_START`]: "16379",
    [`${alias}_PORT_16379_TCP_PORT_END`]: "16381",
    [`${alias}_ENV_REDIS_VERSION`]: "7.2.4",
    [`${alias}_ENV_NODE_ENV_FILE`]: "anything at all",
  };
}

describe("a service link is ignored:", () => {
  it.each<[what: string, links: Environment]>([
    ["a Kubernetes Service called latchkey", kubernetesLinks("latchkey", "10.0.0.1", [[8080, "TCP", "grpc"]])],
    [
      "one with several ports and protocols",
      kubernetesLinks("latchkey", "10.0.0.1", [
        [8080, "TCP", "grpc-web"],
        [53, "UDP"],
        [9, "SCTP"],
      ]),
    ],
    ["one with an IPv6 address", kubernetesLinks("latchkey", "fd00::1", [[8080, "TCP", "grpc"]])],
    ["one with a port named as OpenShift does", kubernetesLinks("latchkey", "10.0.0.1", [[8080, "TCP", "8080-tcp"]])],
    [
      "Services called latchkey-redis and latchkey-tls-cert-file",
      {
        ...kubernetesLinks("latchkey-redis", "10.0.0.2", [[6379, "TCP"]]),
        ...kubernetesLinks("latchkey-tls-cert-file", "10.0.0.3", [[443, "TCP", "https"]]),
      },
    ],
    ["a Service called as a setting", kubernetesLinks("latchkey-listen", "10.0.0.4", [[8080, "TCP", "listen"]])],
    ["a Docker link", dockerLinks("LATCHKEY_REDIS", "latchkey-redis")],
    ["a link of an older docker-compose", dockerLinks("LATCHKEY_1", "latchkey_1")],
    ["a container called latchkey", dockerLinks("LATCHKEY", "latchkey")],
  ])("%s", (_what, links) => {
    const config = readConfig(links);
    expect(config.serviceLinks).toEqual(Object.keys(links));
    expect({ ...config, serviceLinks: [] }).toEqual(readConfig({}));
  });

  it.each(Object.entries(kubernetesLinks("latchkey", "10.0.0.1", [[8080, "TCP", "grpc"]])))(
    "%s is a link by its value; with a value that no link has, it stops the start",
    (name, value) => {
      expect(judgeNames({ [name]: value })).toEqual({ links: [name], faults: [] });
      for (const other of ["", "yes", "8080x", "0", "65536", "tcp://", "tcp://latchkey:8080", "http://10.0.0.1:80"]) {
        expect(judgeNames({ [name]: other }), other).toEqual({
          links: [],
          faults: [expect.stringMatching(`^${name}: `)],
        });
      }
    },
  );

  it("no setting has the name of one, so that no Service can overwrite a setting", () => {
    const settings = Object.values(SETTINGS).map((row): string => row.name);
    expect(settings.filter(hasLinkName)).toEqual([]);
    // The control: a setting of such a name would be found.
    expect(["LATCHKEY_PORT", "LATCHKEY_SERVICE_NAME", "LATCHKEY_OPS_SERVICE_PORT"].filter(hasLinkName)).toHaveLength(3);
  });
});

it("the variables of the clients are ignored, whatever their values", () => {
  const env = Object.fromEntries(CLIENT_VARIABLES.map((name) => [name, "anything"]));
  expect(readConfig(env)).toEqual(readConfig({}));
});

describe("an unknown name stops the start:", () => {
  it.each<[name: string, value: string, suggestion: string]>([
    ["LATCHKEY_LISTN", "127.0.0.1:1", "did you mean LATCHKEY_LISTEN?"],
    ["LATCHKEY_REPLICA", "2", "did you mean LATCHKEY_REPLICAS?"],
    ["LATCHKEY_MASTER_KEY", "1:x", "did you mean LATCHKEY_MASTER_KEYS?"],
    ["latchkey_listen", "127.0.0.1:1", "did you mean LATCHKEY_LISTEN?"],
    ["LATCHKEY_PORT", "8080", "see docs/CONFIG.md"],
    ["LATCHKEY_NAME", "auth", "see docs/CONFIG.md"],
    ["LATCHKEY_REDIS_ENV_TYPO", "a copy without the link that it is of", "see docs/CONFIG.md"],
    ["LATCHKEY_DATABASE_URL", "postgres://d/x", "see docs/CONFIG.md"],
  ])("%s", (name, value, suggestion) => {
    expect(judgeNames({ [name]: value })).toEqual({ links: [], faults: [`${name}: no such setting; ${suggestion}`] });
  });

  it("it does so next to service links too", () => {
    const links = kubernetesLinks("latchkey", "10.0.0.1", [[8080, "TCP", "grpc"]]);
    expect(() => readConfig({ ...links, LATCHKEY_TYRES: "a:1/1" })).toThrow(
      /^LATCHKEY_TYRES: no such setting; did you mean LATCHKEY_TIERS\?$/,
    );
  });
});
