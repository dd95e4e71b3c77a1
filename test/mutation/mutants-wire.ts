import { mutantsOf } from "./tested-mutant.ts";

const WIRE = ["test/postgres/hostile-postgres.test.ts", "test/postgres/wire.servers.test.ts"];
const CONNECTIONS = ["test/postgres/connections.servers.test.ts"];

/** Faults in the checks before a byte of the protocol is sent to PostgreSQL. */
export const WIRE_MUTANTS = [
  ...mutantsOf("src/postgres/connections/wire.ts", WIRE, [
    {
      name: "plaintext where the server offers no TLS",
      search: 'if (text === "N") return this.#giveUpWithoutTls(socket);',
      replacement: 'if (text === "N") return this.#start(socket);',
      why: "an attacker on the way answers N, and reads queries that were to be encrypted",
    },
    {
      name: "plaintext before the handshake is believed",
      search: 'const text = answer.toString("latin1");',
      replacement: 'const text = answer.toString("latin1").slice(0, 1);',
      why: "what somebody on the way put there is taken for the server's (CVE-2021-23222)",
    },
    {
      name: "queries before the certificate was checked",
      search: 'secure.once("secureConnect", () => this.#start(secure));',
      replacement: "this.#start(socket);",
      why: "the handshake is there, and the protocol goes past it",
    },
    {
      name: "require falls back",
      search: 'default:\n      return ["tls"];',
      replacement: 'default:\n      return ["tls", "plaintext"];',
      why: "a failed handshake is all that it takes to read the queries",
    },
    {
      name: "no second attempt for prefer and allow",
      search: "if (this.#ways.length === 0 || this._ending) return false;",
      replacement: "return false;",
      why: "servers that take one way only can't be used",
    },
    {
      name: "the first server heard on",
      search: 'if (this.#isBetween && event !== "error" && event !== "end") return false;',
      replacement: "",
      why: "a refused attempt asks for the password, and gets it on the other connection",
    },
    {
      name: "plaintext for want of a file",
      search: "this.#giveUp(first, error as Error);",
      replacement: "this.#ways.splice(0, 1);\n      this.#attempt(first);",
      why: "an authority that can't be read is no reason to do without one",
    },
  ]),
  ...mutantsOf("src/postgres/connections/tls-files.ts", WIRE, [
    {
      name: "certificates of any authority",
      search: "rejectUnauthorized: ca !== undefined,",
      replacement: "rejectUnauthorized: false,",
      why: "anyone can make a certificate",
    },
    {
      name: "verify-full without a look at the name",
      search: 'sslMode === "verify-full" ?',
      replacement: 'sslMode === "disable" ?',
      why: "another server of the same authority is taken for this one",
    },
    {
      name: "addresses named by any alternative name",
      search: "names.includes(`DNS:${host}`)",
      replacement: "true",
      why: "a certificate for another host passes for an address",
    },
  ]),
  ...mutantsOf("src/postgres/connections/connection.ts", CONNECTIONS, [
    {
      name: "PGPASSWORD where the URL has no password",
      search: "password: () => passwordOf(connection),",
      replacement: "password: connection.password,",
      why: "the same URL means another thing on another machine",
    },
    {
      name: "one name for all connections",
      search: "`${applicationName}-${purpose}`",
      replacement: "applicationName",
      why: "an operator can't tell which connection does what",
    },
  ]),
];
