/** When the connections of client certificates are asked to close, without a service. */
import { X509Certificate } from "node:crypto";
import type { TLSSocket } from "node:tls";
import { expect, it } from "vitest";
import type { AuthorityBundle, ClientAuthorities } from "../../src/rpc/connections/client-authorities.ts";
import { ConnectionCertificate } from "../../src/rpc/connections/connection-certificate.ts";
import type { ServedCertificate } from "../../src/rpc/connections/served-certificate.ts";
import { Handshakes } from "../../src/rpc/connections/tls-server.ts";
import { newAuthority } from "../support/certificate-authority.ts";

const strange = newAuthority("strange");
const clock = { now: Date.now(), nowMs: () => clock.now };

/** A certificate with a fault. */
function foreign(): ConnectionCertificate {
  const socket = { authorized: false, authorizationError: new Error("unknown") } as TLSSocket;
  const trust = { isReplaced: false, isWithdrawn: false };
  return new ConnectionCertificate(new X509Certificate(strange.cert), socket, trust, clock);
}

it("a connection with a foreign certificate is asked to close 30 s after the first call that rests on it", () => {
  const certificate = foreign();
  clock.now += 3_600_000;
  expect(certificate.shouldClose).toBe(false);
  expect(certificate.fault()).toMatch(/no client authority/);
  clock.now += 29_999;
  expect([certificate.fault(), certificate.shouldClose]).toEqual([expect.any(String), false]);
  clock.now += 1;
  expect(certificate.shouldClose).toBe(true);
});

it("at most 16 connections are asked to close in one turn", async () => {
  let replace: (bundle: AuthorityBundle) => void = () => {};
  const bundle = { ca: Buffer.from(strange.cert), fingerprints: new Set(["a"]), endsAtMs: [] };
  const noop = () => {};
  const watch = (use: typeof replace) => {
    replace = use;
  };
  const authorities = { load: async () => bundle, watch, stop: noop };
  const certificate = { load: async () => ({ cert: strange.cert, key: strange.key }), watch: noop, stop: noop };
  const handshakes = new Handshakes({
    certificate: certificate as unknown as ServedCertificate,
    authorities: authorities as unknown as ClientAuthorities,
    clock,
    serve: noop,
  });
  await handshakes.load();
  handshakes.watch();
  let asked = 0;
  for (let n = 0; n < 40; n++) handshakes.follow(foreign(), () => asked++);
  replace({ ...bundle, fingerprints: new Set(["b"]) });
  const counts = [asked];
  while (asked < 40) {
    await new Promise((resolve) => setImmediate(resolve));
    counts.push(asked);
  }
  expect(Math.max(...counts.map((count, n) => count - (counts[n - 1] ?? 0)))).toBe(16);
  handshakes.stop();
});
