/**
 * The promise of each sslmode holds for every connection of real processes. The server counts the connections, and a
 * proxy records the bytes.
 */
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { privateFolder } from "../support/child-process.ts";
import { startFaultProxy } from "../support/fault-proxy.ts";
import { startFleet } from "../support/fleet.ts";
import { clientOf } from "../support/in-process-service.ts";
import { runCli } from "../support/run-cli.ts";
import { canStart, serverFor } from "../support/shared-servers.ts";
import { serviceEnvironment, spawnService } from "../support/spawned-service.ts";
import { type Role, startTlsPostgres, type TlsPostgres } from "../support/tls-postgres.ts";

/** The SSLRequest message: the length 8 and the request code. */
const TLS_REQUEST = Buffer.from("0000000804d2162f", "hex");
const PURPOSES = ["latchkey", "latchkey-changes", "latchkey-migrations", "latchkey-reads"];

let postgres: TlsPostgres;
beforeAll(async () => {
  postgres = await startTlsPostgres();
});
afterAll(() => postgres?.[Symbol.asyncDispose]());

describe.skipIf(!canStart("postgres"))("the sslmode of a service and its commands", () => {
  /** Replaces CA and CLIENT by the parameters with the files. */
  const inFull = (query: string) =>
    query
      .replace("CA", `sslrootcert=${postgres.authority.certFile}`)
      .replace("CLIENT", `sslcert=${postgres.client.certFile}&sslkey=${postgres.client.keyFile}`);

  it.each<[query: string, role: Role, wire: "TLS" | "plaintext"]>([
    ["sslmode=disable", "any_role", "plaintext"],
    ["sslmode=allow", "any_role", "plaintext"],
    ["", "any_role", "TLS"],
    ["sslmode=require", "any_role", "TLS"],
    ["sslmode=verify-ca&CA", "any_role", "TLS"],
    ["sslmode=verify-full&CA", "any_role", "TLS"],
    ["sslmode=allow", "tls_role", "TLS"],
    ["sslmode=verify-full&CA", "tls_role", "TLS"],
    ["sslmode=prefer", "plain_role", "plaintext"],
    ["sslmode=verify-full&CA&CLIENT", "cert_role", "TLS"],
  ])("holds on all connections for %j as %s: %s", async (query, role, wire) => {
    const isTls = wire === "TLS";
    const database = `tls_${randomBytes(4).toString("hex")}`;
    await postgres.server.sql(`create database ${database} owner ${role}`);
    await using proxy = await startFaultProxy(postgres.server.port, true);
    await using fleet = await startFleet({
      DATABASE_URL: postgres.url(role, inFull(query), { port: proxy.port, database }),
    });
    const { env, service } = fleet;
    const cast = await fleet.cast();
    const [key] = await cast.issue(1);
    const { valid } = await clientOf(service.address, KeyService, cast.verifier).verifyKey({ apiKey: key!.raw });
    expect(valid).toBe(true);
    expect(await runCli("master-keys", env as Record<string, string>)).toMatchObject({ code: 0 });

    const open = await postgres.server.sql(
      `select application_name, bool_and(ssl), bool_or(ssl) from pg_stat_ssl join pg_stat_activity using (pid)
       where datname = '${database}' group by 1 order by 1`,
    );
    const letter = isTls ? "t" : "f";
    const open_ = PURPOSES.filter((name) => name !== "latchkey-migrations").map(
      (name) => `${name}|${letter}|${letter}`,
    );
    expect(open.split("\n")).toEqual(open_);
    const ever = connectionsTo(database);
    expect([...new Set(ever.map(({ name }) => name))].sort()).toEqual(PURPOSES);
    expect(new Set(ever.map((each) => each.isTls))).toEqual(new Set([isTls]));

    const spoken = proxy.sent().filter((bytes) => bytes.length > 0);
    expect(spoken.length).toBeGreaterThanOrEqual(ever.length);
    const queries = spoken.filter((bytes) => /select/i.test(bytes.toString("latin1")));
    if (isTls && query !== "sslmode=allow") {
      for (const bytes of spoken) expect(plaintextOf(bytes), "after the request nothing but records of TLS").toBe("");
    }
    // The control: the test finds a query that crosses in plaintext.
    expect(queries.length > 0).toBe(!isTls);
  });

  /** Every connection that the server ever accepted for a database, by its log. */
  function connectionsTo(database: string): readonly { readonly name: string; readonly isTls: boolean }[] {
    const lines = postgres.server.log().split("\n");
    return lines
      .filter((line) => line.includes("connection authorized") && line.includes(` database=${database} `))
      .map((line) => ({ name: / application_name=(\S+)/.exec(line)![1]!, isTls: line.includes(" SSL enabled ") }));
  }
});

describe.skipIf(!canStart("postgres"))("a start is refused in one line, and no query crosses the wire,", () => {
  const broken = privateFolder("latchkey-broken-");
  const file = (name: string, text: string) => {
    writeFileSync(join(broken, name), text);
    return join(broken, name);
  };

  it.each<[why: string, line: RegExp, url: (proxyPort: number) => string]>([
    [
      "if the server shows another name",
      /certificate is not trusted, or TLS with it fails \(ERR_TLS_CERT_ALTNAME_INVALID\)/,
      (port) =>
        postgres.url("any_role", `sslmode=verify-full&sslrootcert=${postgres.authority.certFile}`, {
          host: "127.0.0.1",
          port,
        }),
    ],
    [
      "if another authority signed its certificate",
      /certificate is not trusted, or TLS with it fails \([A-Z_]+\)/,
      (port) => postgres.url("any_role", `sslmode=require&sslrootcert=${postgres.stranger.certFile}`, { port }),
    ],
    [
      "if the file of the authority is missing",
      /sslrootcert: \/missing\/ca\.pem can't be read \(ENOENT\)/,
      (port) => postgres.url("any_role", "sslmode=prefer&sslrootcert=/missing/ca.pem", { port }),
    ],
    [
      "if it is a folder",
      /sslrootcert: \/tmp can't be read \(EISDIR\)/,
      (port) => postgres.url("any_role", "sslmode=require&sslrootcert=/tmp", { port }),
    ],
    [
      "if it holds no certificate",
      /sslrootcert: \S+empty\.pem has no certificate in PEM/,
      (port) => postgres.url("any_role", `sslrootcert=${file("empty.pem", "")}`, { port }),
    ],
    [
      "if it is cut off",
      /sslrootcert: \S+cut\.pem (is not valid PEM|has no certificate)/,
      (port) =>
        postgres.url("any_role", `sslrootcert=${file("cut.pem", postgres.authority.cert.slice(0, 200))}`, { port }),
    ],
    [
      "if the key belongs to another certificate",
      /sslkey: \S+ is not the key of sslcert/,
      (port) =>
        postgres.url("any_role", `sslcert=${postgres.client.certFile}&sslkey=${postgres.authority.keyFile}`, { port }),
    ],
    [
      "if the key is encrypted",
      /sslkey: \S+encrypted\.pem is encrypted/,
      (port) => {
        const encrypted = join(broken, "encrypted.pem");
        const convert = ["pkcs8", "-topk8", "-in", postgres.client.keyFile, "-out", encrypted, "-passout", "pass:x"];
        execFileSync("openssl", convert);
        return postgres.url("any_role", `sslcert=${postgres.client.certFile}&sslkey=${encrypted}`, { port });
      },
    ],
  ])("%s", async (_why, line, url) => {
    await using proxy = await startFaultProxy(postgres.server.port, true);
    await expectRefusal(url(proxy.port), line);
    for (const bytes of proxy.sent()) expect(plaintextOf(bytes)).toBe("");
  });

  it.each(["require", "verify-full"])("if the server has no TLS and sslmode is %s", async (mode) => {
    const url = new URL(serverFor("postgres")!);
    await using proxy = await startFaultProxy(Number(url.port), true);
    url.port = `${proxy.port}`;
    url.search = `sslmode=${mode}&sslrootcert=${postgres.authority.certFile}`;
    await expectRefusal(url.href, /PostgreSQL offers no TLS, which sslmode asks for; set ssl = on/);
    expect(proxy.sent().length).toBeGreaterThan(0);
    for (const bytes of proxy.sent()) expect(bytes).toEqual(TLS_REQUEST);
  });

  it("if only the server asks for TLS", async () => {
    await expectRefusal(postgres.url("tls_role", "sslmode=disable"), /wants TLS|pg_hba/);
  });

  /** Expects that the service and its commands refuse the URL with one line. */
  async function expectRefusal(url: string, line: RegExp): Promise<void> {
    const env = serviceEnvironment({ DATABASE_URL: url });
    await using service = spawnService(env);
    expect(await service.ended()).toBe(1);
    const errors = service
      .output()
      .split("\n")
      .filter((each) => each.includes('"level":50'));
    expect(errors).toEqual([expect.stringMatching(line)]);
    const { code, stderr } = await runCli("bootstrap", env as Record<string, string>);
    expect(code).toBe(1);
    expect(stderr.trimEnd().split("\n")).toEqual([expect.stringMatching(line)]);
    expect(`${service.output()}${stderr}`).not.toContain(new URL(url).password);
  }
});

/** The bytes of a client after the SSLRequest that are no TLS record (RFC 8446, 5.1). */
function plaintextOf(bytes: Buffer): string {
  const start = bytes.subarray(0, TLS_REQUEST.length).equals(TLS_REQUEST) ? TLS_REQUEST.length : 0;
  for (let at = start; at < bytes.length; at += 5 + bytes.readUInt16BE(at + 3)) {
    const isRecord = bytes.length - at >= 5 && bytes[at]! >= 20 && bytes[at]! <= 23 && bytes[at + 1] === 3;
    if (!isRecord) return bytes.subarray(at).toString("latin1");
  }
  return "";
}
