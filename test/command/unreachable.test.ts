/** Exit code 3: what answers is no latchkey, or nothing answers. */
import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import { createServer as createHttp2Server } from "node:http2";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { describe, expect, it } from "vitest";
import { type CommandOptions, command, type Outcome } from "./command.ts";

/** Runs a verb with a credential, and one without, against a server that is closed afterwards. */
async function against(server: Server, options: CommandOptions = {}, timeout = "10s"): Promise<readonly Outcome[]> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => sockets.add(socket.on("error", () => {})));
  await once(server.listen(0, "127.0.0.1"), "listening");
  const env = {
    LATCHKEY_ADDRESS: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    LATCHKEY_CREDENTIAL: "kit_svc_x",
  };
  try {
    const lines = [["keys", "list"], ["status"]];
    return await Promise.all(lines.map((line) => command([...line, "--timeout", timeout], { ...options, env })));
  } finally {
    for (const socket of sockets) socket.destroy();
    server.close();
  }
}

function answering(status: number, headers: Record<string, string>, trailers?: Record<string, string>): Server {
  return createHttp2Server().on("stream", (stream) => {
    stream.on("error", () => {});
    stream.respond({ ":status": status, ...headers }, { waitForTrailers: trailers !== undefined });
    if (trailers !== undefined) stream.on("wantTrailers", () => stream.sendTrailers(trailers));
    stream.end("");
  });
}

describe("the command ends with 3, and with one line that says what to do, where the address has", () => {
  it.each<[what: string, server: () => Server, said: RegExp]>([
    [
      "a web server",
      () => createHttpServer((_, response) => response.end("hello")),
      /is not latchkey; check --address/,
    ],
    ["another protocol", () => createServer((socket) => socket.write("SSH-2.0-x\r\n")), /is not latchkey/],
    ["a server that hangs up", () => createServer((socket) => socket.destroy()), /no latchkey answers/],
    ["a server of HTTP/2 without gRPC", () => answering(404, { "content-type": "text/html" }), /is not latchkey/],
    ["a proxy without a service", () => answering(503, { "content-type": "text/html" }), /no latchkey answers/],
  ])("%s", async (_, server, said) => {
    for (const { code, stdout, stderr } of await against(server())) {
      expect([code, stdout, stderr.match(/\n/g)?.length]).toEqual([3, "", 1]);
      expect(stderr).toMatch(said);
    }
  });

  it("nothing, also by a name that there is not", async () => {
    for (const address of ["127.0.0.1:1", "localhost.invalid"]) {
      const env = { LATCHKEY_ADDRESS: address, LATCHKEY_CREDENTIAL: "kit_svc_x" };
      expect(await command(["keys", "list"], { env })).toMatchObject({
        ...{
          code: 3,
          stderr: expect.stringMatching(/no latchkey answers .*start the service, or name it by --address/),
        },
      });
    }
  });

  it("a server that never answers, after --timeout", async () => {
    for (const { code, stderr } of await against(createServer(), {}, "1s")) {
      expect([code, stderr]).toEqual([3, expect.stringMatching(/did not answer in time/)]);
    }
  });
});

it("a service's text reaches the terminal as one line of at most 300 columns, without control characters", async () => {
  const text = encodeURIComponent(`\u001b]0;owned\u0007\r\nlatchkey: forged${"x".repeat(5000)}`);
  const trailers = { "grpc-status": "9", "grpc-message": text };
  const [outcome] = await against(answering(200, { "content-type": "application/grpc" }, trailers), { columns: 80 });
  expect(outcome).toMatchObject({ code: 1, stdout: "" });
  expect(outcome!.stderr).toMatch(/^latchkey: \\u001b\]0;owned\\u0007 latchkey: forgedx+…\n$/);
  expect(outcome!.stderr.length).toBeLessThan(320);
});
