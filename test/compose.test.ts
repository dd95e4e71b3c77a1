import { spawnSync } from "node:child_process";
import { cpSync, existsSync, readFileSync, symlinkSync } from "node:fs";
import { mkdtempDisposable } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { ConfigError, type Environment, readConfig, SETTINGS } from "../src/config.ts";
import { startCommand } from "./support/start-command.ts";

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
      }
    >
  >;
}

const root = join(import.meta.dirname, "..");
const compose = parse(readFileSync(join(root, "docker-compose.yml"), "utf8")) as Compose;
const dockerfile = readFileSync(join(root, "Dockerfile"), "utf8");

const OWN_SECRETS = {
  NODE_ENV: "production",
  LATCHKEY_MASTER_KEYS: `1:${Buffer.from(Array.from({ length: 32 }, (_, i) => i)).toString("base64")}`,
  POSTGRES_PASSWORD: "correct-horse",
};

describe("docker-compose.yml", () => {
  it("gives the service settings that exist, with values that it accepts", () => {
    const config = readConfig(environmentOf("latchkey", {}));
    expect(config.databaseUrl).toBe("postgres://latchkey:development@postgres:5432/latchkey");
    expect(config.redis).toMatchObject({ kind: "single", at: { host: "redis", port: 6379 }, database: 0, tls: false });
    const known = Object.values(SETTINGS).map((row): string => row.name);
    expect(Object.keys(environmentOf("latchkey", {})).filter((name) => !known.includes(name))).toEqual([]);
  });

  it("starts in production with secrets of one's own", () => {
    const own = { ...OWN_SECRETS, LATCHKEY_ISSUER: "https://auth.example.com", LATCHKEY_USER_SCOPES: "orders:*" };
    const config = readConfig(environmentOf("latchkey", own));
    expect(config).toMatchObject({ production: true, issuer: own.LATCHKEY_ISSUER, userScopes: ["orders:*"] });
    expect(config.databaseUrl).toContain(":correct-horse@");
    expect(environmentOf("postgres", OWN_SECRETS).POSTGRES_PASSWORD).toBe("correct-horse");
  });

  it("has a master key for development that production refuses", () => {
    const env = environmentOf("latchkey", { NODE_ENV: "production" });
    expect(() => readConfig(env)).toThrow(ConfigError);
    expect(() => readConfig(env)).toThrow(/^LATCHKEY_MASTER_KEYS: version 1 is not random/);
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
  });
});

describe("Dockerfile", () => {
  const settings = Object.fromEntries(
    [...dockerfile.matchAll(/^(?:ENV| {3}) ([A-Z_]+)=(\S+)/gm)].map(([, name, value]) => [name, value]),
  );

  it("gives the service settings that exist, and leaves every decision of production to who runs it", () => {
    expect(settings.NODE_ENV).toBe("production");
    expect(() => readConfig({ ...settings, NODE_ENV: "development" })).not.toThrow();
    const faults = faultsOf(settings).map((fault) => fault.split(":")[0]);
    expect(faults).toEqual(["LATCHKEY_MASTER_KEYS", "DATABASE_URL", "REDIS_URL", "LATCHKEY_LISTEN"]);
  });

  it("has all that npm run bootstrap and master-keys are made of, as the first operator of a container runs them", async () => {
    await using folder = await mkdtempDisposable(join(tmpdir(), "latchkey-image-"));
    for (const path of copied()) cpSync(join(root, path), join(folder.path, path), { recursive: true });
    symlinkSync(join(root, "node_modules"), join(folder.path, "node_modules"));
    const env = { ...process.env, DATABASE_URL: undefined, LATCHKEY_DATA_DIR: join(folder.path, "data") };
    const run = (script: string) => {
      const made = spawnSync("npm", ["run", "--silent", script], { cwd: folder.path, env, encoding: "utf8" });
      return { status: made.status, stdout: made.stdout, stderr: made.status === 0 ? "" : made.stderr };
    };
    expect(run("bootstrap")).toEqual({ status: 0, stdout: expect.stringMatching(/^kit_svc_\w{65}\n$/), stderr: "" });
    expect(run("master-keys")).toMatchObject({ status: 0, stderr: "" });
  });

  it("asks the operators' port whether it is well", () => {
    const { opsListen } = readConfig({ ...settings, NODE_ENV: "development" });
    expect(dockerfile).toContain(`fetch('http://127.0.0.1:${opsListen.port}/healthz')`);
  });

  it("runs what npm start runs, but for the check of Node's version, and not as root", () => {
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

/** What the Dockerfile copies from the project and .dockerignore lets through. */
function copied(): readonly string[] {
  const sources = [...dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, paths]) => paths!.split(" "));
  const ignore = readFileSync(join(root, ".dockerignore"), "utf8").split("\n");
  expect(ignore).toContain("*");
  for (const source of sources) expect(ignore).toContain(`!${source}`);
  return sources;
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
