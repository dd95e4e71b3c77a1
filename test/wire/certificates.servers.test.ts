import { once } from "node:events";
import { copyFileSync } from "node:fs";
import { type ClientHttp2Session, connect } from "node:http2";
import { join } from "node:path";
import type { TLSSocket } from "node:tls";
import { afterAll, expect, it } from "vitest";
import { privateFolder, removeFolder } from "../support/child-process.ts";
import { grpcTrailers, startFrontDoor } from "../support/front-door.ts";
import { mountVersions } from "../support/kubernetes-volume.ts";
import { grpcMessage } from "../support/raw-http2.ts";
import { makeCertificate, serialOf, serialShown, servedSerial } from "../support/self-signed.ts";
import { until } from "../support/until.ts";

const folder = privateFolder("latchkey-renewed-");
afterAll(() => removeFolder(folder));

/** Starts a Login with an empty message; `isSlow` leaves the message incomplete. The result sends the rest. */
async function login(session: ClientHttp2Session, isSlow = false): Promise<() => Promise<unknown>> {
  const path = "/latchkey.v1.AuthService/Login";
  const stream = session.request({ ":method": "POST", ":path": path, "content-type": "application/grpc" });
  stream.resume();
  const trailers = grpcTrailers(stream);
  const message = grpcMessage(new Uint8Array());
  // Two bytes of the message's prefix are enough to begin the call.
  if (isSlow) await new Promise<void>((resolve) => stream.write(message.subarray(0, 2), () => resolve()));
  return async () => {
    stream.end(isSlow ? message.subarray(2) : message);
    return (await trailers)["grpc-status"];
  };
}

it("a renewed certificate is served to new connections, and open connections and calls in flight go on", async () => {
  const [one, two] = [makeCertificate(folder, "one"), makeCertificate(folder, "two")];
  const { files: tls, replace } = mountVersions(folder, [one, two]);
  const wire = await startFrontDoor({ auth: { login: async () => ({}) }, options: { tls, plaintext: false } });
  expect(await servedSerial(wire.port)).toBe(serialOf(one));
  expect(wire.server.certificateExpiresAtMs).toBeGreaterThan(Date.now());

  const session = connect(`https://localhost:${wire.port}`, { rejectUnauthorized: false });
  await once(session, "connect");
  const finish = await login(session, true);
  replace();
  // The test sends no signal: the port notices the new files by itself.
  await until(async () => (await servedSerial(wire.port)) === serialOf(two), "the new certificate is served");
  expect(await finish()).toBe("0");
  expect(await (await login(session))()).toBe("0");
  expect(serialShown(session.socket as TLSSocket)).toBe(serialOf(one));
  expect(session.closed).toBe(false);

  copyFileSync(one.keyFile, join(folder, "..2/tls.key"));
  wire.server.reload();
  await until(async () => wire.log.some(({ level }) => level === "warn"), "the pair that does not match is told of");
  expect(await servedSerial(wire.port)).toBe(serialOf(two));
  copyFileSync(one.certFile, join(folder, "..2/tls.crt"));
  wire.server.reload();
  await until(async () => (await servedSerial(wire.port)) === serialOf(one), "the pair that matches is served");
  expect(await (await login(session))()).toBe("0");
  session.close();
  await wire.server.stop();
});
