import { mkdtempSync, rmSync } from "node:fs";
import { connect as connectHttp2 } from "node:http2";
import { request as httpsRequest } from "node:https";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type FrontDoor, startFrontDoor } from "../support/front-door.ts";
import { makeCertificate } from "../support/self-signed.ts";
import { until } from "../support/until.ts";

let wire: FrontDoor;
let logins: string[];

beforeAll(async () => {
  wire = await startFrontDoor({
    auth: {
      login: async ({ email }) => {
        logins.push(email);
        return { user: { email } };
      },
    },
  });
});
afterAll(() => wire.server.stop());

interface RawConnection extends Disposable {
  /** Sends bytes, and waits until `count` answers have come on the connection. */
  send(text: string, count: number): Promise<readonly RawAnswer[]>;
  isClosed(): boolean;
}

interface RawAnswer {
  readonly status: number;
  readonly body: string;
}

/** A connection of HTTP/1.1 on which a test writes its own bytes. */
function rawConnection(socket: Socket): RawConnection {
  let received = "";
  let isClosed = false;
  socket.on("error", () => {});
  socket.on("data", (piece: Buffer) => {
    received += piece.toString("latin1");
  });
  socket.on("close", () => {
    isClosed = true;
  });
  return {
    async send(text, count) {
      socket.write(text, "latin1");
      await until(() => answersIn(received).length >= count || isClosed, `${count} answers`);
      return answersIn(received);
    },
    isClosed: () => isClosed,
    [Symbol.dispose]: () => socket.destroy(),
  };
}

/** The answers in the bytes of a connection. An interim answer has no body. */
function answersIn(received: string): RawAnswer[] {
  const answers: RawAnswer[] = [];
  for (let at = 0; ; ) {
    const end = received.indexOf("\r\n\r\n", at);
    if (end < 0) return answers;
    const head = received.slice(at, end);
    const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
    if (received.length < end + 4 + length) return answers;
    answers.push({ status: Number(head.split(" ")[1]), body: received.slice(end + 4, end + 4 + length) });
    at = end + 4 + length;
  }
}

function requestOf(verb: string, path: string, headers: readonly string[] = [], body = ""): string {
  return [`${verb} ${path} HTTP/1.1`, "host: x", ...headers, "", body].join("\r\n");
}

function loginOf(email: string, ...more: readonly string[]): string {
  const body = JSON.stringify({ email });
  const headers = ["content-type: application/json", `content-length: ${body.length}`, ...more];
  return requestOf("POST", "/v1/auth/login", headers, body);
}

const NEXT = loginOf("next");

describe("a connection of HTTP/1.1", () => {
  let connection: RawConnection;
  const open = () => {
    logins = [];
    connection = rawConnection(connect(wire.port, "127.0.0.1"));
    return connection;
  };

  it.each([
    ["an unknown path with a body", requestOf("POST", "/v1/nothing", ["content-length: 5"], "12345"), 404],
    ["a method that is not allowed, with a body", requestOf("DELETE", "/v1/keys", ["content-length: 5"], "12345"), 405],
    ["a missing credential with a body", requestOf("POST", "/v1/keys:verify", ["content-length: 5"], "12345"), 401],
    ["a body without a type", requestOf("POST", "/v1/auth/login", ["content-length: 2"], "{}"), 415],
    [
      "a body that is too large",
      requestOf(
        "POST",
        "/v1/auth/login",
        ["content-type: application/json", "content-length: 200000"],
        "x".repeat(200_000),
      ),
      413,
    ],
    [
      "a body that is in chunks",
      requestOf("POST", "/v1/x", ["transfer-encoding: chunked"], "2\r\n{}\r\n0\r\n\r\n"),
      404,
    ],
  ])("serves the next request after %s", async (_name, first, status) => {
    using connection = open();
    const answers = await connection.send(first + NEXT, 2);
    expect(answers.map((answer) => answer.status)).toEqual([status, 200]);
    expect(logins).toEqual(["next"]);
  });

  it("reads a body in chunks", async () => {
    using connection = open();
    const headers = ["content-type: application/json", "transfer-encoding: chunked"];
    const body = '9\r\n{"email":\r\n4\r\n"a"}\r\n0\r\n\r\n';
    const [answer] = await connection.send(requestOf("POST", "/v1/auth/login", headers, body), 1);
    expect([answer!.status, logins]).toEqual([200, ["a"]]);
  });

  it("answers a client that waits for 100 Continue", async () => {
    using connection = open();
    const [head, body] = loginOf("a", "expect: 100-continue").split("\r\n\r\n") as [string, string];
    expect((await connection.send(`${head}\r\n\r\n`, 1))[0]!.status).toBe(100);
    expect((await connection.send(body, 2))[1]!.status).toBe(200);
  });

  it("never takes the body of GET for a request", async () => {
    using connection = open();
    const body = NEXT;
    const get = requestOf("GET", "/v1/auth/login", [`content-length: ${body.length}`], body);
    const answers = await connection.send(get + NEXT, 2);
    expect([answers.map(({ status }) => status), logins]).toEqual([[405, 200], ["next"]]);
  });

  it.each([
    ["two lengths", requestOf("POST", "/v1/auth/login", ["content-length: 2", "content-length: 3"], "{}")],
    [
      "a length and chunks",
      requestOf("POST", "/v1/auth/login", ["content-length: 2", "transfer-encoding: chunked"], "0\r\n\r\n"),
    ],
  ])("is closed after a request with %s, and no handler is called", async (_name, request) => {
    using connection = open();
    await connection.send(request + NEXT, 99);
    expect([connection.isClosed(), logins]).toEqual([true, []]);
  });

  it("ends the call of a client that closes it in the middle of a body", async () => {
    const before = wire.finished.length;
    {
      using connection = open();
      await connection.send(requestOf("POST", "/v1/auth/login", ["content-length: 9", "expect: 100-continue"]), 1);
    }
    await until(() => wire.finished.length > before, "the call has ended");
    expect([wire.finished.at(-1), logins]).toEqual([["AuthService.Login", "CANCELLED"], []]);
  });
});

it("an HTTP/2 stream whose body is not read is closed after the answer, and the connection serves on", async () => {
  const session = connectHttp2(`http://${wire.address}`);
  for (const [method, path, status] of [
    ["POST", "/v1/nothing", 404],
    ["OPTIONS", "/v1/keys", 204],
    ["HEAD", "/v1/keys:verify", 405],
  ] as const) {
    const stream = session.request({ ":method": method, ":path": path }, { endStream: false });
    let seen: number | undefined;
    stream.on("response", (headers) => {
      seen = headers[":status"];
    });
    stream.write("x".repeat(1000));
    stream.resume();
    await new Promise((resolve) => stream.on("close", resolve));
    expect([method, seen, stream.rstCode]).toEqual([method, status, 0]);
  }
  expect(session.closed).toBe(false);
  session.destroy();
});

it("REST is served over TLS, on HTTP/1.1 and HTTP/2", async () => {
  const folder = mkdtempSync(join(tmpdir(), "latchkey-rest-"));
  const secure = await startFrontDoor({ options: { tls: makeCertificate(folder, "rest"), plaintext: false } });
  try {
    const url = `https://127.0.0.1:${secure.port}`;
    const http1 = new Promise((resolve, reject) => {
      const request = httpsRequest(`${url}/v1/profile`, { rejectUnauthorized: false, agent: false });
      request.on("response", (response) => resolve(response.statusCode));
      request.on("error", reject).end();
    });
    const session = connectHttp2(url, { rejectUnauthorized: false });
    const stream = session.request({ ":path": "/v1/profile" });
    const http2 = new Promise((resolve) => stream.on("response", (headers) => resolve(headers[":status"])));
    expect(await Promise.all([http1, http2])).toEqual([401, 401]);
    session.destroy();
  } finally {
    await secure.server.stop();
    rmSync(folder, { recursive: true });
  }
});
