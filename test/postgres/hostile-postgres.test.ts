/** Hostile servers, and attackers on the way to a server: they answer the request for TLS as no PostgreSQL does. */
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { describe, expect, it } from "vitest";
import { databaseUrl } from "../../src/config/database-url.ts";
import { PostgresClient } from "../../src/postgres/connections/connection.ts";
import { codeOf, faultOf } from "../../src/postgres/errors/driver-errors.ts";

const TLS_REQUEST = "0000000804d2162f";

interface FakeServer extends AsyncDisposable {
  readonly port: number;
  /** The bytes that each connection has sent so far, in hexadecimal. */
  received(): readonly string[];
}

/** @param answer the bytes to send after each chunk that arrives; null closes the connection */
async function fakeServer(answer: (chunk: Buffer, nth: number) => string | Buffer | null): Promise<FakeServer> {
  const received: Buffer[][] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    const chunks: Buffer[] = [];
    received.push(chunks);
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("data", (chunk: Buffer) => {
      chunks.push(chunk);
      const said = answer(chunk, chunks.length);
      if (said === null) socket.destroy();
      else socket.write(said);
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    received: () => received.map((chunks) => Buffer.concat(chunks).toString("hex")),
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

async function refusalOf(port: number, query: string, connectMs = 10_000): Promise<unknown> {
  const connection = databaseUrl(`postgres://user:canary@127.0.0.1:${port}/name?${query}`);
  const client = new PostgresClient(connection, { purpose: "management", connectMs, statementTimeoutMs: 10_000 });
  client.on("error", () => {});
  const ended = once(client, "end");
  const refusal = await client.connect().then(
    () => undefined,
    (error: unknown) => error,
  );
  await client.end();
  await ended;
  return refusal;
}

/** An ErrorResponse of PostgreSQL, which refuses a connection. */
function errorResponse(code: string): Buffer {
  const fields = Buffer.from(`SFATAL\0C${code}\0Mno\0\0`);
  const length = Buffer.alloc(4);
  length.writeInt32BE(fields.length + 4);
  return Buffer.concat([Buffer.from("E"), length, fields]);
}

describe("after a request for TLS", () => {
  it.each<[answer: string, said: string | Buffer | null, code: string]>([
    ["no TLS", "N", "ERR_TLS_NOT_OFFERED"],
    ["no TLS, with more behind it", "NE", "ECONNRESET"],
    ["TLS, with plaintext injected before the handshake", Buffer.from("SR\0\0\0\x08\0\0\0\0"), "ECONNRESET"],
    ["an error of a server that knows no such request", errorResponse("0A000"), "ECONNRESET"],
    ["an offer of a password in plaintext", Buffer.from("R\0\0\0\x08\0\0\0\x03"), "ECONNRESET"],
    ["another protocol", "HTTP/1.1 400 Bad Request\r\n\r\n", "ECONNRESET"],
  ])("the client sends only the request to a server that answers %s", async (_answer, said, code) => {
    for (const mode of ["sslmode=require", "sslrootcert=system"]) {
      await using server = await fakeServer(() => said);
      const refusal = await refusalOf(server.port, mode);
      expect(codeOf(refusal)).toBe(code);
      expect(faultOf(refusal), "counts as a server that is unreachable").toBe("unavailable");
      expect(server.received()).toEqual([TLS_REQUEST]);
    }
  });

  it("a server that accepts and then sends plaintext gets only the beginning of a handshake", async () => {
    await using server = await fakeServer((_chunk, nth) => (nth === 1 ? "S" : Buffer.from("R\0\0\0\x08\0\0\0\x03")));
    const refusal = await refusalOf(server.port, "sslmode=require");
    expect(faultOf(refusal)).toBe("unavailable");
    const [received, ...others] = server.received();
    expect(others).toEqual([]);
    expect(received).toMatch(new RegExp(`^${TLS_REQUEST}1603`));
    expect(Buffer.from(received!, "hex").toString("latin1")).not.toMatch(/user|canary|name\0/);
  });

  it("a server that closes the connection counts as unreachable", async () => {
    await using server = await fakeServer(() => null);
    expect(faultOf(await refusalOf(server.port, "sslmode=require"))).toBe("unavailable");
    expect(server.received()).toEqual([TLS_REQUEST]);
  });

  it.each(["", "S"])("a server that is silent after %j fails the connection in time", async (said) => {
    await using server = await fakeServer((_chunk, nth) => (nth === 1 ? said : ""));
    expect(faultOf(await refusalOf(server.port, "sslmode=require", 200))).toBe("unavailable");
    expect(server.received()).toHaveLength(1);
  });
});

describe("sslmode=prefer", () => {
  it("continues in plaintext on the same connection if there is no TLS", async () => {
    await using server = await fakeServer((_chunk, nth) => (nth === 1 ? "N" : errorResponse("28000")));
    expect(codeOf(await refusalOf(server.port, "sslmode=prefer"))).toBe("28000");
    expect(server.received()).toEqual([expect.stringMatching(new RegExp(`^${TLS_REQUEST}.*${hex("user")}`))]);
  });

  it("accepts only one byte as the answer before it continues", async () => {
    await using server = await fakeServer(() => Buffer.concat([Buffer.from("N"), errorResponse("28000")]));
    expect(codeOf(await refusalOf(server.port, "sslmode=prefer"))).toBe("ECONNRESET");
    expect(server.received()).toEqual([TLS_REQUEST]);
  });

  it("does not continue in plaintext after a handshake timed out", async () => {
    await using server = await fakeServer((_chunk, nth) => (nth === 1 ? "S" : ""));
    expect(faultOf(await refusalOf(server.port, "sslmode=prefer", 200))).toBe("unavailable");
    expect(server.received()).toEqual([expect.stringMatching(new RegExp(`^${TLS_REQUEST}1603`))]);
  });

  it.each(["prefer", "allow"])("does not continue in plaintext if a file can't be read (%s)", async (mode) => {
    await using server = await fakeServer(() => "N");
    const refusal = await refusalOf(server.port, `sslmode=${mode}&sslrootcert=/missing.pem`);
    expect(refusal).toMatchObject({
      code: "ERR_TLS_FILE",
      message: "sslrootcert: /missing.pem can't be read (ENOENT)",
    });
    expect(server.received()).toEqual([]);
  });
});

describe("sslmode=allow", () => {
  it("requests TLS after a refusal of plaintext, and reports that refusal if there is no TLS", async () => {
    const isRequest = (chunk: Buffer) => chunk.toString("hex") === TLS_REQUEST;
    await using server = await fakeServer((chunk) => (isRequest(chunk) ? "N" : errorResponse("28000")));
    expect(codeOf(await refusalOf(server.port, "sslmode=allow"))).toBe("28000");
    const [plaintext, tls] = server.received();
    expect(plaintext).toContain(hex("user"));
    expect(tls).toBe(TLS_REQUEST);
  });

  it("ignores later bytes of a refused connection, and sends it no password", async () => {
    const asked = Buffer.from("R\0\0\0\x08\0\0\0\x03");
    const isRequest = (chunk: Buffer) => chunk.toString("hex") === TLS_REQUEST;
    const answer = (chunk: Buffer) => (isRequest(chunk) ? "N" : Buffer.concat([errorResponse("28000"), asked]));
    await using server = await fakeServer(answer);
    expect(codeOf(await refusalOf(server.port, "sslmode=allow"))).toBe("28000");
    expect(server.received().join()).not.toContain(hex("canary"));
  });
});

function hex(text: string): string {
  return Buffer.from(text).toString("hex");
}
