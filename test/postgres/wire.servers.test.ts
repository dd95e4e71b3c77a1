/** sslmode on the wire: the service connects like psql with the same URL, or not at all. */
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { privateFolder } from "../support/child-process.ts";
import { canStart, serverFor } from "../support/shared-servers.ts";
import {
  type CertificateName,
  libpqOutcome,
  type Outcome,
  ourOutcome,
  type Role,
  startTlsPostgres,
  type TlsPostgres,
} from "../support/tls-postgres.ts";

const MODES = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] as const;

describe.skipIf(!canStart("postgres"))("sslmode", { timeout: 60_000 }, () => {
  let postgres: TlsPostgres;
  let roots: Record<"ca" | "other" | "none", string>;
  let clients: Record<"good" | "stranger" | "misnamed" | "none", string>;

  beforeAll(async () => {
    postgres = await startTlsPostgres();
    const { authority, stranger, client } = postgres;
    const ofClient = ({ certFile, keyFile }: typeof client) => `&sslcert=${certFile}&sslkey=${keyFile}`;
    roots = { ca: `&sslrootcert=${authority.certFile}`, other: `&sslrootcert=${stranger.certFile}`, none: "" };
    clients = {
      good: ofClient(client),
      stranger: ofClient(stranger.issue("cert_role")),
      misnamed: ofClient(authority.issue("any_role")),
      none: "",
    };
  }, 120_000);
  afterAll(() => postgres?.[Symbol.asyncDispose]());

  async function expectAsLibpq(url: string, outcome: Outcome): Promise<void> {
    expect({ ours: await ourOutcome(url), libpq: await libpqOutcome(url) }).toEqual({ ours: outcome, libpq: outcome });
  }

  const [T, P, R] = ["TLS", "plaintext", "refused"] as const;
  it.each<[what: string, role: Role, root: "ca" | "other" | "none", outcomes: readonly (Outcome | undefined)[]]>([
    ["a server that accepts both", "any_role", "ca", [P, P, T, T, T, T]],
    ["a server that accepts both, without an authority", "any_role", "none", [P, P, T, T]],
    ["a server that accepts only TLS", "tls_role", "ca", [R, T, T, T, T, T]],
    ["a server that accepts only plaintext", "plain_role", "ca", [P, P, P, R, R, R]],
    ["a certificate of another authority", "any_role", "other", [P, P, P, R, R, R]],
    ["only TLS and a certificate of another authority", "tls_role", "other", [R, R, R, R, R, R]],
  ])("has the outcome of psql for %s", async (_what, role, root, outcomes) => {
    for (const [n, outcome] of outcomes.entries()) {
      if (outcome !== undefined) await expectAsLibpq(postgres.url(role, `sslmode=${MODES[n]}${roots[root]}`), outcome);
    }
  });

  it("has the outcome of psql for a server without TLS", async () => {
    for (const [n, outcome] of [P, P, P, R, R, R].entries()) {
      await expectAsLibpq(`${serverFor("postgres")}?sslmode=${MODES[n]}${roots.ca}`, outcome);
    }
  });

  it.each<[certificate: CertificateName, host: string, outcome: Outcome]>([
    ["localhost", "localhost", T],
    ["localhost", "127.0.0.1", R],
    ["localhost", "LOCALHOST", T],
    ["elsewhere", "localhost", R],
    ["wildcard", "localhost", R],
    ["commonName", "localhost", T],
    ["address", "127.0.0.1", T],
    ["address", "localhost", R],
    ["addressAsName", "127.0.0.1", T],
    ["addressAsCommonName", "127.0.0.1", T],
  ])(
    "judges the certificate %s for the host %s with verify-full only (%s); verify-ca and require check its authority",
    async (certificate, host, outcome) => {
      await postgres.show(certificate);
      try {
        const url = (mode: string) => postgres.url("any_role", `sslmode=${mode}${roots.ca}`, { host });
        await expectAsLibpq(url("verify-full"), outcome);
        await expectAsLibpq(url("verify-ca"), T);
        await expectAsLibpq(url("require"), T);
      } finally {
        await postgres.show("localhost");
      }
    },
  );

  it.each<[client: "good" | "stranger" | "misnamed" | "none", outcome: Outcome]>([
    ["good", T],
    ["stranger", R],
    ["misnamed", R],
    ["none", R],
  ])("has the outcome of psql for the client certificate %s", async (client, outcome) => {
    for (const mode of ["allow", "prefer", "require", "verify-full"]) {
      await expectAsLibpq(postgres.url("cert_role", `sslmode=${mode}${roots.ca}${clients[client]}`), outcome);
    }
  });

  it("has no effect on a Unix socket, which has no TLS", async () => {
    const host = encodeURIComponent(postgres.server.socketFolder);
    for (const mode of MODES) {
      await expectAsLibpq(postgres.url("any_role", `sslmode=${mode}${roots.ca}`, { host }), P);
    }
  });

  it("works the same with an IPv6 address", async () => {
    const url = (mode: string) => postgres.url("any_role", `sslmode=${mode}${roots.ca}`, { host: "[::1]" });
    await expectAsLibpq(url("verify-ca"), T);
    await expectAsLibpq(url("verify-full"), R);
    await expectAsLibpq(url("disable"), P);
  });

  it("reads the files for each connection, so that an authority is replaced without a restart", async () => {
    const file = join(privateFolder("latchkey-root-"), "root.pem");
    const url = postgres.url("any_role", `sslmode=verify-full&sslrootcert=${file}`);
    copyFileSync(postgres.authority.certFile, file);
    expect(await ourOutcome(url)).toBe("TLS");
    await postgres.show("localhost", "stranger");
    try {
      expect(await ourOutcome(url)).toBe("refused");
      copyFileSync(postgres.stranger.certFile, file);
      expect(await ourOutcome(url)).toBe("TLS");
    } finally {
      await postgres.show("localhost");
    }
    expect(await ourOutcome(url)).toBe("refused");
  });

  it("trusts the authorities of the machine with `system`, and so not this server", async () => {
    expect(await ourOutcome(postgres.url("any_role", "sslrootcert=system"))).toBe("refused");
  });
});
