import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { ConfigError, type Environment, readConfig, SETTINGS } from "../src/config/config.ts";
import { freePort } from "./support/child-process.ts";
import { canStart } from "./support/shared-servers.ts";
import { startCommand } from "./support/start-command.ts";
import { until } from "./support/until.ts";

interface Compose {
  readonly services: Readonly<
    Record<
      string,
      {
        readonly image?: string;
        readonly build?: string;
        readonly environment?: Readonly<Record<string, unknown>>;
        readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
        readonly healthcheck?: { readonly test: readonly string[] };
        readonly ports?: readonly string[];
        readonly volumes?: readonly string[];
        readonly networks?: readonly string[];
        readonly command?: readonly string[];
        readonly stop_grace_period?: string;
      }
    >
  >;
  readonly networks: Readonly<Record<string, { readonly internal?: boolean } | null>>;
}

const root = join(import.meta.dirname, "..");
const compose = parse(readFileSync(join(root, "docker-compose.yml"), "utf8")) as Compose;
const dockerfile = readFileSync(join(root, "Dockerfile"), "utf8");

const OWN_SECRETS = {
  NODE_ENV: "production",
  LATCHKEY_MASTER_KEYS: `1:${Buffer.from(Array.from({ length: 32 }, (_, i) => i)).toString("base64")}`,
  POSTGRES_PASSWORD: "correct-horse",
  REDIS_PASSWORD: "battery-staple",
  LATCHKEY_ISSUER: "https://auth.example.com",
};
const SETTING_NAMES = Object.values(SETTINGS).map((row): string => row.name);
/** The volumes of each service, none of which is a folder of the host. */
const MOUNTED: Readonly<Record<string, readonly string[]>> = {
  latchkey: ["data:/data"],
  postgres: ["postgres:/var/lib/postgresql/data"],
  redis: [],
};
const SERVICES = Object.keys(MOUNTED);

describe("docker-compose.yml", () => {
  it("gives the service settings that exist, with values that it accepts", () => {
    const config = readConfig(environmentOf("latchkey", {}));
    expect(config.database).toMatchObject({ host: "postgres", port: 5432, user: "latchkey", database: "latchkey" });
    expect(config.database?.password).toBe("development");
    expect(config.redis).toMatchObject({ kind: "single", at: { host: "redis", port: 6379 }, database: 0, tls: false });
    expect(namesOf("latchkey").filter((name) => !SETTING_NAMES.includes(name))).toEqual([]);
  });

  it("hands on every setting, or says why it sets it", () => {
    expect(SETTING_NAMES.filter((name) => !namesOf("latchkey").includes(name))).toEqual([]);
    const marked = Object.fromEntries(SETTING_NAMES.map((name) => [name, `value of ${name}`]));
    const handedOn = environmentOf("latchkey", marked);
    const kept = SETTING_NAMES.filter((name) => handedOn[name] !== marked[name]);
    // Those of the container, and the servers of this file, whatever the shell has for another service.
    expect(kept.sort()).toEqual([
      "DATABASE_URL",
      "LATCHKEY_DATA_DIR",
      "LATCHKEY_LISTEN",
      "LATCHKEY_OPS_LISTEN",
      "REDIS_URL",
    ]);
    expect(environmentOf("latchkey", {}).LATCHKEY_DATA_DIR).toBe(settingsOf(dockerfile).LATCHKEY_DATA_DIR);
  });

  it("allows plaintext wherever the service asks for a word about it, since its networks are private", () => {
    const flags = SETTING_NAMES.filter((name) => name.startsWith("LATCHKEY_ALLOW_PLAINTEXT"));
    const env = environmentOf("latchkey", {});
    expect(flags.length).toBeGreaterThan(0);
    expect(flags.filter((name) => env[name] !== "true")).toEqual([]);
  });

  it("starts in production with the secrets of an operator", () => {
    const own = { ...OWN_SECRETS, LATCHKEY_USER_SCOPES: "orders:*" };
    const config = readConfig(environmentOf("latchkey", own));
    expect(config).toMatchObject({ production: true, issuer: own.LATCHKEY_ISSUER, userScopes: ["orders:*"] });
    expect(config.database?.password).toBe("correct-horse");
    expect(environmentOf("postgres", OWN_SECRETS).POSTGRES_PASSWORD).toBe("correct-horse");
    expect(environmentOf("redis", OWN_SECRETS)).toEqual({
      REDIS_PASSWORD: "battery-staple",
      REDISCLI_AUTH: "battery-staple",
    });
  });

  it.each([
    ["LATCHKEY_MASTER_KEYS", /^LATCHKEY_MASTER_KEYS: version 1 is not random/],
    ["POSTGRES_PASSWORD", /^DATABASE_URL: has a password that anyone can look up/],
    ["REDIS_PASSWORD", /^REDIS_URL: has a password that anyone can look up/],
    ["LATCHKEY_ISSUER", /^LATCHKEY_ISSUER: must be set in production/],
  ])("has a value of %s for development that production refuses", (name, fault) => {
    const env = environmentOf("latchkey", { ...OWN_SECRETS, [name]: undefined });
    expect(faultsOf(env)).toEqual([expect.stringMatching(fault)]);
  });

  it("starts the service when PostgreSQL 17 and Redis 7 are healthy", () => {
    const { latchkey, postgres, redis } = compose.services;
    expect(latchkey?.depends_on).toEqual({
      postgres: { condition: "service_healthy" },
      redis: { condition: "service_healthy" },
    });
    expect(postgres?.image).toMatch(/^postgres:17\b/);
    expect(redis?.image).toMatch(/^redis:7\b/);
    for (const server of [postgres, redis]) expect(server?.healthcheck?.test).toContain("CMD");
  });

  it("publishes the ports that the service listens on, on loopback alone", () => {
    const { listen, opsListen } = readConfig(environmentOf("latchkey", {}));
    const ports = [listen, opsListen].map(({ port }) => `127.0.0.1:${port}:${port}`);
    expect(Object.values(compose.services).flatMap((service) => service.ports ?? [])).toEqual(ports);
    expect(compose.services.latchkey?.ports).toEqual(ports);
  });

  it("leaves the service the time that its longest drain takes", () => {
    const longestS = SETTINGS.drainMs.parse("300") / 1000;
    expect(() => SETTINGS.drainMs.parse("301")).toThrow();
    const graceS = Number(/^(\d+)s$/.exec(compose.services.latchkey?.stop_grace_period ?? "")?.[1]);
    expect(graceS).toBeGreaterThanOrEqual(longestS + 15);
  });
});

describe("each container of docker-compose.yml", () => {
  it("is one of three that these tests know", () => {
    expect(Object.keys(compose.services).sort()).toEqual(SERVICES);
  });

  it.each(SERVICES)(
    "%s may write only what is mounted, has no capability and no way to one, and is bounded",
    (name) => {
      const service: Readonly<Record<string, unknown>> = compose.services[name]!;
      expect(service).toMatchObject({
        restart: "unless-stopped",
        read_only: true,
        cap_drop: ["ALL"],
        security_opt: ["no-new-privileges:true"],
        tmpfs: expect.arrayContaining(["/tmp"]),
        mem_limit: expect.stringMatching(/^\d+[mg]$/),
        pids_limit: expect.any(Number),
        logging: { options: { "max-size": "10m", "max-file": "5" } },
      });
      for (const way of ["cap_add", "privileged", "pid", "ipc", "network_mode", "devices", "extends"]) {
        expect(service).not.toHaveProperty(way);
      }
      expect(service.volumes ?? [], "no folder of the host").toEqual(MOUNTED[name]);
    },
  );

  it.each(["postgres", "redis"])("%s begins as its own user, and only on a network without a way out", (name) => {
    const service = compose.services[name]!;
    expect(service).toMatchObject({ user: name, networks: ["servers"] });
    expect(service).not.toHaveProperty("ports");
    expect(compose.networks.servers).toEqual({ internal: true });
    expect(compose.services.latchkey?.networks).toEqual(["outside", "servers"]);
  });

  it.skipIf(!canStart("redis"))(
    "redis asks for its password, evicts nothing, and fails its health check without it",
    {
      timeout: 30_000,
    },
    async () => {
      const environment = { PATH: process.env.PATH, ...environmentOf("redis", OWN_SECRETS) };
      const [shell, flag, script = ""] = compose.services.redis?.command ?? [];
      const port = await freePort();
      // The file's own command on a port of the test; in the container the default is free.
      const there = script
        .replaceAll("$$", "$")
        .replace("redis-server -", `redis-server - --port ${port} --bind 127.0.0.1`);
      const redis = spawn(shell!, [flag!, there], { env: environment, stdio: "ignore" });
      try {
        const [, ...check] = (compose.services.redis?.healthcheck?.test ?? []).map((word) =>
          word.replace("redis-cli", `redis-cli -p ${port}`),
        );
        const isHealthy = (env: NodeJS.ProcessEnv) => spawnSync(check[0]!, check.slice(1), { env }).status === 0;
        await until(async () => isHealthy(environment), "the health check is well");
        expect(isHealthy({ PATH: process.env.PATH }), "the control: without the password it is not").toBe(false);
        const say = (...words: string[]) =>
          spawnSync("redis-cli", ["-p", `${port}`, ...words], { env: environment, encoding: "utf8" }).stdout;
        expect(say("config", "get", "maxmemory-policy")).toContain("noeviction");
        expect(say("config", "get", "save")).toBe("save\n\n");
        const arguments_ = readFileSync(`/proc/${redis.pid}/cmdline`, "utf8");
        expect(arguments_).toContain("redis-server");
        expect(arguments_).not.toContain(OWN_SECRETS.REDIS_PASSWORD);
      } finally {
        const ended = once(redis, "exit");
        redis.kill("SIGKILL");
        await ended;
      }
    },
  );
});

describe("Dockerfile", () => {
  const settings = settingsOf(dockerfile);

  it("gives the service settings that exist, and leaves every decision of production to the operator", () => {
    expect(settings.NODE_ENV).toBe("production");
    expect(() => readConfig({ ...settings, NODE_ENV: "development" })).not.toThrow();
    const faults = faultsOf(settings).map((fault) => fault.split(":")[0]);
    expect(faults.sort()).toEqual([
      "DATABASE_URL",
      "LATCHKEY_ISSUER",
      "LATCHKEY_LISTEN",
      "LATCHKEY_MASTER_KEYS",
      "REDIS_URL",
    ]);
  });

  it("asks the operators' port whether it is well", () => {
    const { opsListen } = readConfig({ ...settings, NODE_ENV: "development" });
    expect(dockerfile).toContain(`fetch('http://127.0.0.1:${opsListen.port}/healthz')`);
  });

  it("runs what npm start runs, except the check of Node's version, and not as root", () => {
    const [, command = "[]"] = /^CMD (\[.*\])$/m.exec(dockerfile) ?? [];
    const { flags, file } = startCommand();
    expect(JSON.parse(command)).toEqual(["node", ...flags, file]);
    expect(existsSync(join(root, file))).toBe(true);
    expect(dockerfile).toMatch(/^USER node$/m);
  });
});

/** The environment of a service after interpolation: `${NAME:-default}` is all that the file uses, or nothing at all. */
function environmentOf(service: string, shell: Environment): Record<string, string> {
  const entries = Object.entries(compose.services[service]?.environment ?? {});
  return Object.fromEntries(
    entries.flatMap(([name, value]) => {
      if (value === null) return shell[name] === undefined ? [] : [[name, shell[name]]];
      const text = String(value).replaceAll(/\$\{([A-Z_]+):-([^}]*)\}/g, (_, key, fallback) => shell[key] || fallback);
      expect(text, "every reference was understood").not.toContain("$");
      return [[name, text]];
    }),
  );
}

function namesOf(service: string): readonly string[] {
  return Object.keys(compose.services[service]?.environment ?? {});
}

/** The Dockerfile's ENV. */
function settingsOf(text: string): Record<string, string> {
  const lines = text.matchAll(/^(?:ENV| {3}) ([A-Z_]+)=(\S+)/gm);
  return Object.fromEntries([...lines].map(([, name, value]) => [name, value]));
}

function faultsOf(env: Environment): readonly string[] {
  try {
    readConfig(env);
  } catch (error) {
    if (error instanceof ConfigError) return error.faults;
    throw error;
  }
  return [];
}
