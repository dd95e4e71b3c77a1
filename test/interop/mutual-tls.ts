/** The suite of client certificates for a client in another language, and the files of the service for it. */
import { writeFileSync } from "node:fs";
import { expect, it } from "vitest";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { type Authority, type Identity, newAuthority } from "../support/certificate-authority.ts";
import { clientOf } from "../support/clients.ts";
import { until } from "../support/until.ts";
import type { Command, DrivenClient } from "./driven-client.ts";
import type { RunningService } from "./running-service.ts";

const UNAUTHENTICATED = 16;
const NAME = "orders.internal";

export interface MutualTls {
  /** Settings of the service. */
  readonly settings: Readonly<Record<string, string>>;
  readonly servers: Authority;
  readonly clients: Authority;
  /** The file of the client authorities that the service reads. */
  readonly clientCaFile: string;
}

export function mutualTls(): MutualTls {
  const [servers, clients] = [newAuthority("servers"), newAuthority("clients")];
  const server = servers.issue("localhost", ["DNS:localhost", "IP:127.0.0.1"]);
  const clientCaFile = `${clients.certFile}.bundle`;
  writeFileSync(clientCaFile, clients.cert);
  const settings = {
    LATCHKEY_TLS_CERT_FILE: server.certFile,
    LATCHKEY_TLS_KEY_FILE: server.keyFile,
    LATCHKEY_TLS_CLIENT_CA_FILE: clientCaFile,
  };
  return { settings, servers, clients, clientCaFile };
}

/** The suite of one language. `start` starts its program, `service` is a service with the settings of `tls`. */
export function mutualTlsContract(service: () => RunningService, start: () => DrivenClient, tls: MutualTls): void {
  it("calls by its certificate alone, and its calls go on while the authority is replaced", async () => {
    const { servers, clients, clientCaFile } = tls;
    await using client = start();
    const admin = clientOf(service().address, AdminService, service().admin);
    const names = { certificateNames: [NAME, "spiffe://example.org/orders"] };
    await admin.issueServiceCredential({ name: "orders", scopes: ["verify"], ...names });
    const by = ({ certFile, keyFile }: Identity): Command => ({
      ...{ do: "verify", key: "no key", credential: "", address: service().address },
      ...{ caFile: servers.certFile, certFile, keyFile },
    });
    const verdict = { valid: false, verdict: "VERDICT_INVALID", keyId: "" };
    const refused = { error: { code: UNAUTHENTICATED, reason: "CREDENTIAL_INVALID", domain: "latchkey" } };
    const old = by(clients.issue("x", [`DNS:${NAME}`]));
    expect(await client.ask(old)).toEqual(verdict);
    expect(await client.ask(by(clients.issue(NAME, ["URI:spiffe://example.org/orders"])))).toEqual(verdict);
    expect(await client.ask(by(clients.issue(NAME)))).toEqual(refused);

    // The new authority is put beside the old one, clients get certificates of it, and the old one goes.
    const next = newAuthority("next");
    const renewed = by(next.issue("x", [`DNS:${NAME}`]));
    expect(await client.ask(renewed)).toEqual(refused);
    writeFileSync(clientCaFile, clients.cert + next.cert);
    // The program's open connection is asked to close, and each further call of it is answered.
    await until(async () => (await client.ask(renewed)).valid === false, "the new authority counts");
    expect(await client.ask(old)).toEqual(verdict);
    writeFileSync(clientCaFile, next.cert);
    await until(async () => {
      expect(await client.ask(renewed)).toEqual(verdict);
      return "error" in (await client.ask(old));
    }, "the old authority no longer counts");
    expect(await client.ask(old)).toEqual(refused);
  });
}
