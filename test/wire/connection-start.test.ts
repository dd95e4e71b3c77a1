import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { lookAtStart } from "../../src/rpc/connections/connection-start.ts";
import { until } from "../support/until.ts";

const RECORD_HEAD_BYTES = 5;

let server: ReturnType<typeof createServer>;
let port: number;
let client: Socket;
let decided: string[];
let received: number;

beforeEach(async () => {
  server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  ({ port } = server.address() as AddressInfo);
});
afterEach(() => {
  client.destroy();
  server.close();
});

/** Opens a connection whose first bytes the test inspects. */
async function open(): Promise<void> {
  decided = [];
  received = 0;
  client = connect(port, "127.0.0.1");
  client.on("error", () => {});
  const [socket] = (await once(server, "connection")) as [Socket];
  socket.on("error", () => {});
  const push = socket.unshift.bind(socket);
  socket.unshift = (chunk: Buffer) => {
    received = chunk.length;
    push(chunk);
  };
  lookAtStart(socket, (protocol) => {
    decided.push(protocol);
    return false;
  });
}

/** The ClientHello of a real TLS client, without its record header. */
async function clientHello(): Promise<Buffer> {
  const real = connectTls({ port, host: "127.0.0.1", rejectUnauthorized: false });
  real.on("error", () => {});
  const [socket] = (await once(server, "connection")) as [Socket];
  const [bytes] = (await once(socket, "data")) as [Buffer];
  real.destroy();
  socket.destroy();
  return bytes.subarray(RECORD_HEAD_BYTES);
}

function record(payload: Buffer): Buffer {
  const head = Buffer.from([0x16, 3, 1, 0, 0]);
  head.writeUInt16BE(payload.length, 3);
  return Buffer.concat([head, payload]);
}

describe("the start of a TLS connection", () => {
  it.each([1, 3, 50])(
    "is decided only after the second record of a ClientHello that was split after %i bytes",
    async (at) => {
      const hello = await clientHello();
      await open();
      client.write(record(hello.subarray(0, at)));
      // Two turns of the event loop without a decision: the server waits for the rest.
      const first = decided;
      const bytes = record(hello.subarray(at));
      client.write(bytes.subarray(0, 20));
      await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
      expect(first).toEqual([]);
      client.write(bytes.subarray(20));
      await until(() => first.length === 1);
      expect([first, received]).toEqual([["TLS"], hello.length + 2 * RECORD_HEAD_BYTES]);
    },
  );

  it("is left to OpenSSL when a record of another type comes within the ClientHello", async () => {
    await open();
    client.write(Buffer.concat([record(Buffer.from([1, 0, 1, 0])), Buffer.from([0x15, 3, 1, 0, 2, 2, 40])]));
    await until(() => decided.length === 1);
    expect(decided).toEqual(["TLS"]);
  });

  it("is left to OpenSSL when the ClientHello announces more than 16 KiB", async () => {
    await open();
    client.write(record(Buffer.from([1, 1, 0, 0])));
    await until(() => decided.length === 1);
    expect(decided).toEqual(["TLS"]);
  });
});
