import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect as connectHttp2 } from "node:http2";
import { get } from "node:https";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import type { DescMethod } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { credentials, Client as GrpcClient } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { isChange } from "../../src/rpc/effects.ts";
import { callGrpc, type FrontDoor, startFrontDoor } from "../support/front-door.ts";
import { until } from "../support/until.ts";

const AUTH = { login: async ({ email }: { email: string }) => ({ user: { email } }) };
const REQUEST =
  'POST /latchkey.v1.AuthService/Login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: 15\r\n\r\n{"email":"ann"}';

/** Everything that the server sends until it closes the connection. */
function readAll(socket: Socket): Promise<string> {
  let text = "";
  socket.setEncoding("latin1");
  socket.on("data", (chunk) => {
    text += chunk;
  });
  socket.on("error", () => {});
  return new Promise((resolve) => socket.on("close", () => resolve(text)));
}

/** Writes byte by byte, each in a packet of its own. */
async function writeSlowly(socket: Socket, text: string): Promise<void> {
  socket.setNoDelay(true);
  for (const byte of Buffer.from(text, "latin1")) {
    await new Promise<void>((resolve) => socket.write(Buffer.from([byte]), () => setImmediate(resolve)));
  }
}

describe("on a plaintext port,", () => {
  let wire: FrontDoor;
  beforeAll(async () => {
    wire = await startFrontDoor({ auth: AUTH });
  });
  afterAll(() => wire.server.stop());

  it("an HTTP/1.1 request that arrives byte by byte is served", async () => {
    const socket = connect(wire.port, "127.0.0.1");
    const answer = readAll(socket);
    await writeSlowly(socket, REQUEST);
    expect(await answer).toMatch(/^HTTP\/1.1 200 OK\r\n[\s\S]*"email":"ann"/);
  });

  it("an HTTP/2 preface that arrives byte by byte is answered with SETTINGS", async () => {
    const socket = connect(wire.port, "127.0.0.1");
    const first = new Promise<Buffer>((resolve) => socket.once("data", resolve));
    await writeSlowly(socket, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    expect((await first)[3]).toBe(4);
    socket.destroy();
  });

  it.each(["P", "PR", ""])("a client that sends only %j is cut off, and costs little CPU time", async (start) => {
    const cpuBefore = process.cpuUsage();
    const socket = connect(wire.port, "127.0.0.1");
    const answer = readAll(socket);
    if (start !== "") socket.write(start);
    expect(await answer).toBe("");
    const { user, system } = process.cpuUsage(cpuBefore);
    // The server waits 2 s. A busy loop would cost 2 s of CPU time.
    expect((user + system) / 1e6).toBeLessThan(1);
  });

  it.each([
    ["garbage", "\x00\xff\xfe\r\n\r\n"],
    ["a TLS ClientHello to a server without TLS", "\x16\x03\x01\x02\x00\x01"],
    ["an invalid Host", REQUEST.replace("host: x", "host: [")],
    ["an invalid path", REQUEST.replace("/latchkey.v1.AuthService/Login", "//[")],
    ["a wrong HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"],
    ["a header of 64 KiB", `GET / HTTP/1.1\r\nhost: x\r\nlong: ${"x".repeat(65536)}\r\n\r\n`],
  ])("%s does no harm to other clients", async (_name, bytes) => {
    const socket = connect(wire.port, "127.0.0.1");
    const answer = readAll(socket);
    socket.end(Buffer.from(bytes, "latin1"));
    await answer;
    const transport = createConnectTransport({ baseUrl: `http://${wire.address}`, httpVersion: "1.1" });
    expect((await createClient(AuthService, transport).login({ email: "bob" })).user?.email).toBe("bob");
  });

  it("a request whose authority is not a host name is served, because nothing depends on it", async () => {
    const socket = connect(wire.port, "127.0.0.1");
    const answer = readAll(socket);
    socket.write(REQUEST.replace("host: x", "host: ["));
    expect(await answer).toMatch(/^HTTP\/1.1 200 OK/);
  });

  it("a client that closes in the middle of a message causes no error line", async () => {
    const session = connectHttp2(`http://${wire.address}`);
    session.on("error", () => {});
    const stream = session.request({
      ":method": "POST",
      ":path": "/latchkey.v1.AuthService/Login",
      "content-type": "application/grpc",
    });
    stream.on("error", () => {});
    stream.write(Buffer.from([0, 0, 0, 0, 100, 1]));
    const finished = wire.finished.length;
    await new Promise((resolve) => session.once("remoteSettings", resolve));
    // The answer to a PING follows what came before it.
    await new Promise((resolve) => session.ping(resolve));
    session.destroy();
    await until(() => wire.finished.length > finished);
    expect(wire.finished[finished]).toEqual(["AuthService.Login", "CANCELLED"]);
    expect(wire.log.filter(({ level }) => level === "error")).toEqual([]);
  });
});

describe("on a port with TLS,", () => {
  const folder = mkdtempSync(join(tmpdir(), "latchkey-tls-"));
  const tls = { certFile: join(folder, "cert.pem"), keyFile: join(folder, "key.pem") };
  let wire: FrontDoor;
  let ca: Buffer;

  beforeAll(async () => {
    const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
    const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", tls.keyFile];
    execFileSync("openssl", ["req", "-x509", "-days", "1", ...key, "-out", tls.certFile, ...subject], {
      stdio: "pipe",
    });
    ca = readFileSync(tls.certFile);
    wire = await startFrontDoor({ auth: AUTH, options: { tls } });
  });
  afterAll(async () => {
    await wire.server.stop();
    rmSync(folder, { recursive: true });
  });

  it("gRPC, Connect over HTTP/2 and over HTTP/1.1 are served by ALPN", async () => {
    const baseUrl = `https://localhost:${wire.port}`;
    const nodeOptions = { ca };
    for (const transport of [
      createGrpcTransport({ baseUrl, nodeOptions }),
      createConnectTransport({ baseUrl, httpVersion: "2", nodeOptions }),
      createConnectTransport({ baseUrl, httpVersion: "1.1", nodeOptions }),
    ]) {
      expect((await createClient(AuthService, transport).login({ email: "ann" })).user?.email).toBe("ann");
    }
    const client = new GrpcClient(`localhost:${wire.port}`, credentials.createSsl(ca));
    expect((await callGrpc(client, AuthService.method.login, { email: "bob" })).user?.email).toBe("bob");
    client.close();
  });

  it("a client without ALPN speaks HTTP/1.1", async () => {
    const socket = connectTls({ port: wire.port, host: "127.0.0.1", ca, servername: "localhost" });
    const answer = readAll(socket);
    socket.write(REQUEST);
    expect(await answer).toMatch(/^HTTP\/1.1 200 OK/);
  });

  it("TLS 1.1 is refused", async () => {
    const options = {
      ca,
      rejectUnauthorized: false,
      maxVersion: "TLSv1.1",
      minVersion: "TLSv1",
      ciphers: "ALL@SECLEVEL=0",
    } as const;
    await expect(
      new Promise((resolve, reject) => get(`https://localhost:${wire.port}/`, options, resolve).on("error", reject)),
    ).rejects.toThrow();
  });

  it("plaintext is served on the same port, unless it is switched off", async () => {
    const call = (port: number) =>
      fetch(`http://127.0.0.1:${port}/.well-known/jwks.json`).then(
        ({ status }) => status,
        () => "refused",
      );
    expect(await call(wire.port)).toBe(200);
    const strict = await startFrontDoor({ auth: AUTH, options: { tls, plaintext: false } });
    expect(await call(strict.port)).toBe("refused");
    await strict.server.stop();
  });

  it("a start without the certificate's file fails", async () => {
    await expect(startFrontDoor({ options: { tls: { ...tls, certFile: "/nowhere.pem" } } })).rejects.toThrow("ENOENT");
  });
});

it("a start on a port that is in use fails", async () => {
  const wire = await startFrontDoor();
  await expect(startFrontDoor({ options: { port: wire.port } })).rejects.toThrow("EADDRINUSE");
  await wire.server.stop();
});

it("a start fails if a method has no access rule or no row in rpc/effects.ts", async () => {
  const accessRule = () => undefined as never;
  await expect(startFrontDoor({ deps: { accessRule } })).rejects.toThrow("has no access rule");
  const lacking: DescMethod = { ...AuthService.method.login, localName: "loginAgain", name: "LoginAgain" };
  await expect(startFrontDoor({ deps: { isChange: () => isChange(lacking) } })).rejects.toThrow(
    "latchkey.v1.AuthService.LoginAgain has no row in rpc/effects.ts",
  );
});
