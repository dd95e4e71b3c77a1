/** Servers, and what is on the way to them, that answer the request for TLS as no PostgreSQL would. */
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { describe, expect, it } from "vitest";
import { databaseUrl } from "../../src/config/database-url.ts";
import { PostgresClient } from "../../src/postgres/connections/connection.ts";
import { codeOf, faultOf } from "../../src/postgres/errors/driver-errors.ts";

const TLS_REQUEST = "0000000804d2162f";

interface FakeServer extends AsyncDisposable {
  readonly port: number;
  /** All that each connection has sent so far, in hexadecimal digits. */
  received(): readonly string[];
}

/** @param answer what it sends after each chunk that it gets; null closes */
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

/** A message of PostgreSQL that refuses a connection. */
function errorResponse(code: string): Buffer {
  const fields = Buffer.from(`SFATAL\0C${code}\0Mno\0\0`);
  const length = Buffer.alloc(4);
  length.writeInt32BE(fields.length + 4);
  return Buffer.concat([Buffer.from("E"), length, fields]);
}

describe("with TLS asked for", () => {
  it.each<[answer: string, said: string | Buffer | null, code: string]>([
    ["no TLS", "N", "ERR_TLS_NOT_OFFERED"],
    ["no TLS, with more behind it", "NE", "ECONNRESET"],
    ["TLS, with plaintext put before the handshake", Buffer.from("SR\0\0\0\x08\0\0\0\0"), "ECONNRESET"],
    ["an error of a server that knows no such request", errorResponse("0A000"), "ECONNRESET"],
    ["an offer of a password in plaintext", Buffer.from("R\0\0\0\x08\0\0\0\x03"), "ECONNRESET"],
    ["rubbish", "HTTP/1.1 400 Bad Request\r\n\r\n", "ECONNRESET"],
  ])("nothing but the request is sent to a server that answers %s", async (_answer, said, code) => {
    for (const mode of ["sslmode=require", "sslrootcert=system"]) {
      await using server = await fakeServer(() => said);
      const refusal = await refusalOf(server.port, mode);
      expect(codeOf(refusal)).toBe(code);
      expect(faultOf(refusal), "counts as a server that is unreachable").toBe("unavailable");
      expect(server.received()).toEqual([TLS_REQUEST]);
    }
  });

  it("a server that says yes and then speaks plaintext gets the beginning of a handshake, and nothing else", async () => {
    await using server = await fakeServer((_chunk, nth) => (nth === 1 ? "S" : Buffer.from("R\0\0\0\x08\0\0\0\x03")));
    const refusal = await refusalOf(server.port, "sslmode=require");
    expect(faultOf(refusal)).toBe("unavailable");
    const [received, ...others] = server.received();
    expect(others).toEqual([]);
    expect(received).toMatch(new RegExp(`^${TLS_REQUEST}1603`));
    expect(Buffer.from(received!, "hex").toString("latin1")).not.toMatch(/user|canary|name\0/);
  });

  it("a server that closes is one that is unreachable", async () => {
    await using server = await fakeServer(() => null);
    expect(faultOf(await refusalOf(server.port, "sslmode=require"))).toBe("unavailable");
    expect(server.received()).toEqual([TLS_REQUEST]);
  });

  it.each(["", "S"])("a server that goes silent after %j is given up in time", async (said) => {
    await using server = await fakeServer((_chunk, nth) => (nth === 1 ? said : ""));
    expect(faultOf(await refusalOf(server.port, "sslmode=require", 200))).toBe("unavailable");
    expect(server.received()).toHaveLength(1);
  });
});

describe("prefer", () => {
  it("goes on in plaintext on the same connection where there is no TLS (control: the others would)", async () => {
    await using server = await fakeServer((_chunk, nth) => (nth === 1 ? "N" : errorResponse("28000")));
    expect(codeOf(await refusalOf(server.port, "sslmode=prefer"))).toBe("28000");
    expect(server.received()).toEqual([expect.stringMatching(new RegExp(`^${TLS_REQUEST}.*${hex("user")}`))]);
  });

  it("believes no more than one byte before it goes on", async () => {
    await using server = await fakeServer(() => Buffer.concat([Buffer.from("N"), errorResponse("28000")]));
    expect(codeOf(await refusalOf(server.port, "sslmode=prefer"))).toBe("ECONNRESET");
    expect(server.received()).toEqual([TLS_REQUEST]);
  });

  it("does not go on in plaintext when a handshake is given up for its time", async () => {
    await using server = await fakeServer((_chunk, nth) => (nth === 1 ? "S" : ""));
    expect(faultOf(await refusalOf(server.port, "sslmode=prefer", 200))).toBe("unavailable");
    expect(server.received()).toEqual([expect.stringMatching(new RegExp(`^${TLS_REQUEST}1603`))]);
  });

  it.each(["prefer", "allow"])("does not go on in plaintext when a file can't be read (%s)", async (mode) => {
    await using server = await fakeServer(() => "N");
    const refusal = await refusalOf(server.port, `sslmode=${mode}&sslrootcert=/missing.pem`);
    expect(refusal).toMatchObject({
      code: "ERR_TLS_FILE",
      message: "sslrootcert: /missing.pem can't be read (ENOENT)",
    });
    expect(server.received()).toEqual([]);
  });
});

describe("allow", () => {
  it("asks for TLS after a refusal of plaintext, and tells that refusal where there is none", async () => {
    const isRequest = (chunk: Buffer) => chunk.toString("hex") === TLS_REQUEST;
    await using server = await fakeServer((chunk) => (isRequest(chunk) ? "N" : errorResponse("28000")));
    expect(codeOf(await refusalOf(server.port, "sslmode=allow"))).toBe("28000");
    const [plaintext, tls] = server.received();
    expect(plaintext).toContain(hex("user"));
    expect(tls).toBe(TLS_REQUEST);
  });

  it("hears nothing more of the first attempt: a password that it asks for goes nowhere", async () => {
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
