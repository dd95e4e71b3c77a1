/** DATABASE_URL: what libpq means by it, or a refusal by name. */
import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import { ConfigError, readConfig } from "../../src/config/config.ts";
import { DATABASE_PARAMETERS, databaseUrl } from "../../src/config/database-url.ts";
import type { DatabaseConnection } from "../../src/lib/database-connection.ts";

const DEFAULTS = {
  host: "h",
  port: 5432,
  user: "u",
  database: "d",
  sslMode: "prefer",
  rootCertificate: undefined,
  clientCertificate: undefined,
  applicationName: "latchkey",
  settings: [],
} as const;

describe("DATABASE_URL", () => {
  it.each<[url: string, differs: Partial<DatabaseConnection>]>([
    ["postgres://u@h/d", {}],
    ["postgresql://u@h/d", {}],
    ["postgres://u@h:6543/d", { port: 6543 }],
    ["postgres://u@h:/d", {}],
    ["postgres://u@h", { database: "u" }],
    ["postgres://u@h/", { database: "u" }],
    ["postgres://u:@h/d", {}],
    ["postgres://u:p%40s%3As%2Fw%25%3F%23@h/d", { password: "p@s:s/w%?#" }],
    ["postgres://u:p:q+r@h/d", { password: "p:q+r" }],
    ["postgres://u:pässwörd@h/d", { password: "pässwörd" }],
    ["postgres://%75ser%20one:p@h/da%20ta", { user: "user one", password: "p", database: "da ta" }],
    ["postgres://u@h/d%2Fe", { database: "d/e" }],
    ["postgres://u@10.0.0.1:1/d", { host: "10.0.0.1", port: 1 }],
    ["postgres://u@[::1]/d", { host: "::1" }],
    ["postgres://u@[2001:db8::5]:6543/d", { host: "2001:db8::5", port: 6543 }],
    ["postgres://u@[fe80::1%25eth0]/d", { host: "fe80::1%eth0" }],
    ["postgres:///d?host=/run/pg&user=u", { host: "/run/pg" }],
    ["postgres://u@%2Frun%2Fpg/d", { host: "/run/pg" }],
    ["postgres://u@%2Frun%2Fpg:6543/d", { host: "/run/pg", port: 6543 }],
    ["postgres://?host=a&port=1&user=u&password=p%26&dbname=b", { host: "a", port: 1, password: "p&", database: "b" }],
    ["postgres://x:y@z:1/w?host=h&port=5432&user=u&password=p&dbname=d", { password: "p" }],
    ["postgres://u@h/d?host=%3A%3A1", { host: "::1" }],
    ["postgres://u@h/d?password=YWJj==", { password: "YWJj==" }],
    ["postgres://u@h/d?", {}],
    ["postgres://u@h/d?&sslmode=disable&", { sslMode: "disable" }],
    ...(["disable", "allow", "prefer", "require"] as const).map(
      (sslMode) => [`postgres://u@h/d?sslmode=${sslMode}`, { sslMode }] as [string, Partial<DatabaseConnection>],
    ),
    ["postgres://u@h/d?ssl=true", { sslMode: "require" }],
    ["postgres://u@h/d?sslmode=require&sslrootcert=/ca.pem", { sslMode: "require", rootCertificate: "/ca.pem" }],
    ["postgres://u@h/d?sslmode=verify-ca&sslrootcert=ca%20.pem", { sslMode: "verify-ca", rootCertificate: "ca .pem" }],
    ["postgres://u@h/d?sslmode=verify-full&sslrootcert=/ca", { sslMode: "verify-full", rootCertificate: "/ca" }],
    ["postgres://u@h/d?sslrootcert=system", { sslMode: "verify-full", rootCertificate: "system" }],
    ["postgres://u@h/d?sslrootcert=/ca", { rootCertificate: "/ca" }],
    ["postgres://u@h/d?sslcert=/c&sslkey=/k", { clientCertificate: { certFile: "/c", keyFile: "/k" } }],
    ["postgres://u@h/d?application_name=billing", { applicationName: "billing" }],
    ["postgres://u@h/d?options=-c%20search_path%3Dapp", { settings: [["search_path", "app"]] }],
    ["postgres://u@h/d?options=-csearch_path=app", { settings: [["search_path", "app"]] }],
    ["postgres://u@h/d?options=--search-path%3Dapp%2Cpublic", { settings: [["search_path", "app,public"]] }],
    ["postgres://u@h/d?options=-c%20search_path%3Da%5C%20b", { settings: [["search_path", "a b"]] }],
    [
      "postgres://u@h/d?options=%20-c%20role%3Downer%20%20--search_path%3D%22%24user%22",
      {
        settings: [
          ["role", "owner"],
          ["search_path", '"$user"'],
        ],
      },
    ],
  ])("%s", (url, differs) => {
    const { password, ...rest } = differs;
    const connection = databaseUrl(url);
    expect(connection).toEqual({ ...DEFAULTS, ...rest });
    expect(connection.password).toBe(password);
    expect(Object.isFrozen(connection) && Object.isFrozen(connection.settings)).toBe(true);
  });

  it.each<[url: string, ...faults: RegExp[]]>([
    ["mysql://u@h/d", /starts with postgres:/],
    ["h/d", /starts with postgres:/],
    ["postgres:u@h/d", /starts with postgres:/],
    ["postgres://u@h/d e", /as %20/],
    ["postgres://u@h/d\0", /as %20/],
    ["postgres://u:secret#x@h/d", /%23/],
    ["postgres://u@h\\@evil/d", /%5C/],
    ["postgres://u:sec@ret@h/d", /@ as %40/],
    ["postgres://u:sec/ret@h/d", /@ as %40/],
    ["postgres://u:sec?ret@h/d", /@ as %40/],
    ["postgres://h?application_name=a@b", /@ as %40/],
    ["postgres://u@h1,h2/d", /names several hosts/],
    ["postgres://u@h1:1,h2:2/d", /names several hosts/],
    ["postgres://u@h/d?host=h1,h2", /names several hosts/],
    ["postgres://u@h:1:2/d", /more than one :/],
    ["postgres://u@::1/d", /more than one :/],
    ["postgres://u@[::1/d", /brackets/],
    ["postgres://u@[db.internal]/d", /brackets/],
    ["postgres://u@[::1]x/d", /brackets/],
    ["postgres://u@h:0/d", /port/],
    ["postgres://u@h:65536/d", /port/],
    ["postgres://u@h:5e3/d", /port/],
    ["postgres://u@h/d?port=1,2", /port/],
    ["postgres://u@/d", /names no host/],
    ["postgres:///d?user=u", /names no host/],
    ["postgres://u@h/d?host=", /names no host/],
    ["postgres://h/d", /names no user/],
    ["postgres://u@%40abstract/d", /abstract socket/],
    ["postgres://u@run%2Fpg/d", /neither a name nor a folder/],
    ["postgres://u%00@h/d", /user is not percent-encoded/],
    ["postgres://u:100%@h/d", /password is not percent-encoded/],
    ["postgres://u:%ff@h/d", /password is not percent-encoded/],
    ["postgres://u@h/d?sslmode=no-verify", /sslmode must be one of.*; require/],
    ["postgres://u@h/d?sslmode=", /sslmode must be one of/],
    ["postgres://u@h/d?sslmode=REQUIRE", /sslmode must be one of/],
    ["postgres://u@h/d?sslmode=verify-full", /needs sslrootcert/],
    ["postgres://u@h/d?sslmode=verify-ca", /needs sslrootcert/],
    ["postgres://u@h/d?sslmode=require&sslrootcert=system", /needs sslmode=verify-full/],
    ["postgres://u@h/d?sslrootcert=", /sslrootcert must name a file/],
    ["postgres://u@h/d?sslmode=require&sslmode=disable", /sslmode is given twice/],
    ["postgres://u@h/d?sslmode=require&ssl=true", /give sslmode alone/],
    ["postgres://u@h/d?ssl=1", /ssl is not supported: write sslmode/],
    ["postgres://u@h/d?sslcert=/c", /both or neither/],
    ["postgres://u@h/d?sslkey=/k", /both or neither/],
    ["postgres://u@h/d?sslmode", /sslmode must be written as/],
    ["postgres://u@h/d?schema=app", /^schema is not supported: write options=/],
    ["postgres://u@h/d?currentSchema=app", /^currentSchema is not supported: write options=/],
    ["postgres://u@h/d?pgbouncer=true", /^pgbouncer is not supported: remove it/],
    ["postgres://u@h/d?connection_limit=5", /LATCHKEY_DATABASE_POOL_SIZE/],
    ["postgres://u@h/d?target_session_attrs=read-write", /^target_session_attrs is not supported/],
    ["postgres://u@h/d?hostaddr=10.0.0.1", /^hostaddr is not supported/],
    ["postgres://u@h/d?SSLMODE=require", /^SSLMODE is not supported/],
    ["postgres://u@h/d?__proto__=1", /^__proto__ is not supported/],
    ["postgres://u@h/d?constructor=1", /^constructor is not supported/],
    ["postgres://u@h/d?%73slmode=require", /^a parameter is not supported/],
    ["postgres://u@h/d?application_name=n%C3%A4me", /application_name must be/],
    [`postgres://u@h/d?application_name=${"n".repeat(53)}`, /application_name must be/],
    ["postgres://u@h/d?options=-c%20statement_timeout%3D0", /not statement_timeout: remove it/],
    ["postgres://u@h/d?options=--default-transaction-read-only%3Don", /not default_transaction_read_only/],
    ["postgres://u@h/d?options=project%3Dep-1", /options must be -c/],
    ["postgres://u@h/d?options=-c", /options must be -c/],
    ["postgres://u@h/d?options=-c%20search_path", /options must be -c/],
    ["postgres://u@h/d?options=-f%20s", /options must be -c/, /options must be -c/],
    [
      "postgres://h:x/d?sslmode=on&foo=1&sslcert=/c",
      /port/,
      /foo is not/,
      /sslmode must/,
      /names no user/,
      /both or neither/,
    ],
  ])("refuses %j, with every fault at once and no secret", (url, ...faults) => {
    const told = faultsOf(url);
    for (const fault of faults) expect(told).toContainEqual(expect.stringMatching(fault));
    expect(told).toHaveLength(new Set(faults.map(String)).size);
    expect(told.join("\n")).not.toMatch(/secret|\bsec\b|\bret\b/);
  });

  it("gives the configuration one line for each fault, with the name of the variable", () => {
    const read = () => readConfig({ DATABASE_URL: "postgres://h:x/d?foo=1" });
    expect(read).toThrow(ConfigError);
    expect(read).toThrow(/^DATABASE_URL: foo.*\nDATABASE_URL: names no user.*\nDATABASE_URL: has a port.*$/);
  });

  it("shows its password only to code that reads the property", () => {
    const connection = databaseUrl("postgres://u:canary@h/d?sslmode=require");
    expect(connection.password).toBe("canary");
    const config = readConfig({ DATABASE_URL: "postgres://u:canary@h/d" });
    for (const each of [connection, { ...connection }, config]) {
      expect(`${JSON.stringify(each)}${inspect(each, { depth: 9 })}`).not.toContain("canary");
    }
  });

  it("names the supported parameters in a refusal", () => {
    expect(faultsOf("postgres://u@h/d?foo=1")[0]).toContain(Object.keys(DATABASE_PARAMETERS).join(", "));
  });
});

describe("in production", () => {
  const production =
    (url: string, more = {}) =>
    () =>
      readConfig({
        NODE_ENV: "production",
        LATCHKEY_MASTER_KEYS: `1:${Buffer.from(Array.from({ length: 32 }, (_, i) => i * 7)).toString("base64")}`,
        LATCHKEY_ALLOW_IN_PROCESS_LIMITS: "true",
        LATCHKEY_ISSUER: "https://auth.example.com",
        DATABASE_URL: url,
        ...more,
      });

  it.each(["", "?sslmode=disable", "?sslmode=allow", "?sslmode=prefer", "?sslmode=prefer&sslrootcert=/ca"])(
    "a server on another machine with %j is refused without an explicit flag",
    (query) => {
      for (const host of ["db.internal", "10.0.0.1", "[2001:db8::1]", "127.evil.test", "localhost.evil.test"]) {
        const url = `postgres://u@${host}/d${query}`;
        expect(production(url)).toThrow(/^DATABASE_URL: may be plaintext to another machine[^\n]*$/);
        expect(production(url, { LATCHKEY_ALLOW_PLAINTEXT_DATABASE: "true" })().warnings).toEqual([]);
      }
    },
  );

  it.each(["localhost", "127.0.0.1", "127.9.9.9", "[::1]", "%2Frun%2Fpg"])("%s needs no TLS", (host) => {
    expect(production(`postgres://u@${host}/d`)().warnings).toEqual([]);
  });

  it("a start warns of `require` without an authority, but not with one or for a server on this machine", () => {
    const warnings = (url: string) => production(url)().warnings;
    expect(warnings("postgres://u@db/d?sslmode=require")).toEqual([
      expect.stringContaining("does not check the server"),
    ]);
    for (const url of [
      "postgres://u@db/d?sslmode=require&sslrootcert=/ca",
      "postgres://u@db/d?sslmode=verify-ca&sslrootcert=/ca",
      "postgres://u@db/d?sslrootcert=system",
      "postgres://u@127.0.0.1/d?sslmode=require",
    ]) {
      expect(warnings(url), url).toEqual([]);
    }
  });
});

function faultsOf(url: string): readonly string[] {
  try {
    databaseUrl(url);
  } catch (error) {
    return (error as { faults: readonly string[] }).faults;
  }
  return [];
}
