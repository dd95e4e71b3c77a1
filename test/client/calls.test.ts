/** The calls of the client: their batches, retries, credential and deadlines. */
import { once } from "node:events";
import { constants, createServer, type Http2Server, type ServerHttp2Stream } from "node:http2";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { Code, ConnectError, createRouterTransport } from "@connectrpc/connect";
import { afterEach, describe, expect, it } from "vitest";
import { GroupCommit } from "../../client/src/group-commit.ts";
import { createLatchkey, LatchkeyCredentialError, LatchkeyUnavailable } from "../../client/src/latchkey.ts";
import { KeyService, Verdict, type VerifyKeyRequest } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { frame, GOAWAY, SETTINGS } from "../support/raw-http2.ts";

const VALID = { valid: true, verdict: Verdict.VALID };

/** A service whose VerifyKey a test writes; a batch asks it for each of its requests. */
function serviceOf(verifyKey: (request: VerifyKeyRequest, authorization: string | null) => Promise<object> | object) {
  const seen: number[] = [];
  const transport = createRouterTransport(({ service }) => {
    service(KeyService, {
      async verifyKey(request, { requestHeader }) {
        seen.push(1);
        return verifyKey(request, requestHeader.get("authorization"));
      },
      async batchVerifyKeys({ requests }, { requestHeader }) {
        seen.push(requests.length);
        const responses = requests.map((request) => verifyKey(request, requestHeader.get("authorization")));
        const values = await Promise.all(responses);
        return { results: values.map((value) => ({ outcome: { case: "response" as const, value } })) };
      },
    });
  });
  return { transport, seen };
}

const credential = "kit_svc_one";

describe("group commit", () => {
  it("sends one call as VerifyKey, and the calls of one turn as one BatchVerifyKeys", async () => {
    const { transport, seen } = serviceOf(() => VALID);
    await using latchkey = createLatchkey({ transport, credential });
    await latchkey.verify({ apiKey: "a" });
    await Promise.all(["a", "b", "c"].map((apiKey) => latchkey.verify({ apiKey })));
    expect(seen).toEqual([1, 3]);
  });

  it("sends at most 256 calls at once, and at most 4 batches", async () => {
    let underWay = 0;
    let most = 0;
    const { transport, seen } = serviceOf(async () => ({ ...VALID, key: { id: "k" } }));
    const counting: typeof transport = {
      ...transport,
      async unary(...args) {
        most = Math.max(most, ++underWay);
        return transport.unary(...args).finally(() => void underWay--);
      },
    };
    await using latchkey = createLatchkey({ transport: counting, credential, deadlineMs: 20_000 });
    const verifyAll = () => Promise.all(Array.from({ length: 1500 }, (_, at) => latchkey.verify({ apiKey: `${at}` })));
    await verifyAll();
    expect(Math.max(...seen)).toBe(256);
    expect(seen.reduce((sum, count) => sum + count)).toBe(1500);
    expect(most, "one place is left for keys that are known").toBe(3);
    await verifyAll();
    expect(most).toBe(4);
  });

  it("sends at most 200 KiB at once, and a call above 64 KiB alone", async () => {
    const seen: number[] = [];
    const commit = new GroupCommit<string>({
      send: async (calls) => {
        seen.push(calls.length);
        return calls.map(() => ({ answer: "a" }));
      },
      batch: true,
    });
    const sizes = [70, 40, 40, 40, 40, 40, 40];
    const calls = sizes.map((kib) => ({ apiKey: "a".repeat(kib * 1024) }));
    await Promise.all(calls.map((call) => commit.verify(call, { timeoutMs: 20_000, isKnown: true })));
    expect(seen).toEqual([1, 4, 2]);
  });

  it("sends each call by itself if `batch` is false", async () => {
    const { transport, seen } = serviceOf(() => VALID);
    await using latchkey = createLatchkey({ transport, credential, batch: false });
    await Promise.all(["a", "b", "c", "d", "e", "f"].map((apiKey) => latchkey.verify({ apiKey })));
    expect(seen).toEqual([1, 1, 1, 1, 1, 1]);
  });

  it("keeps keys that the service has found apart from others", async () => {
    const slow = Promise.withResolvers<object>();
    const { transport, seen } = serviceOf(({ apiKey }) =>
      apiKey === "invented" ? slow.promise : { ...VALID, key: { id: "k" } },
    );
    await using latchkey = createLatchkey({ transport, credential, deadlineMs: 20_000 });
    await latchkey.verify({ apiKey: "known" });
    const invented = [1, 2].map(() => latchkey.verify({ apiKey: "invented" }));
    await Promise.all([1, 2, 3].map(() => latchkey.verify({ apiKey: "known" })));
    expect([...seen].sort()).toEqual([1, 2, 3]);
    slow.resolve({ valid: false, verdict: Verdict.INVALID });
    await Promise.all(invented);
  });
});

describe("verdicts", () => {
  it.each([
    [{ valid: true, verdict: 99 }],
    [{ valid: true, verdict: Verdict.REVOKED }],
    [{ valid: false, verdict: Verdict.VALID }],
    [{ valid: true, verdict: Verdict.UNSPECIFIED }],
  ])("are UNKNOWN and refused where the answer contradicts itself or is not known: %o", async (answer) => {
    const { transport } = serviceOf(() => answer);
    await using latchkey = createLatchkey({ transport, credential });
    expect(await latchkey.verify({ apiKey: "a" })).toMatchObject({ valid: false, verdict: "UNKNOWN" });
  });
});

describe("deadlines", () => {
  it("end a call with LatchkeyUnavailable, and a call of the same batch goes on", async () => {
    const late = Promise.withResolvers<object>();
    const { transport } = serviceOf(() => late.promise);
    await using latchkey = createLatchkey({ transport, credential, deadlineMs: 50 });
    await expect(latchkey.verify({ apiKey: "a" })).rejects.toMatchObject({
      name: "LatchkeyUnavailable",
      message: "no verdict within 50 ms",
    });
    late.resolve(VALID);
  });

  it("end calls that wait when the client is closed, and later calls", async () => {
    const { transport } = serviceOf(() => new Promise(() => {}));
    const latchkey = createLatchkey({ transport, credential, deadlineMs: 20_000 });
    const states: string[] = [];
    latchkey.on("state", (state) => states.push(state));
    const waiting = latchkey.verify({ apiKey: "a" });
    await latchkey.close();
    await expect(waiting).rejects.toBeInstanceOf(LatchkeyUnavailable);
    await expect(latchkey.verify({ apiKey: "a" })).rejects.toThrow("closed");
    await expect(latchkey.keys.verifyKey({})).rejects.toThrow("closed");
    await expect.poll(() => states).toEqual(["closed"]);
  });
});

describe("the credential", () => {
  const accepting = (good: () => string) =>
    serviceOf((_request, authorization) => {
      if (authorization === `Bearer ${good()}`) return VALID;
      throw new ConnectError("not known", Code.Unauthenticated);
    });

  it("is asked for once, and again only after it was refused, once for all calls", async () => {
    let good = "kit_svc_one";
    let asked = 0;
    const { transport } = accepting(() => good);
    const source = async () => {
      asked++;
      return good;
    };
    await using latchkey = createLatchkey({ transport, credential: source, batch: false });
    await Promise.all([1, 2, 3].map(() => latchkey.verify({ apiKey: "a" })));
    expect(asked).toBe(1);
    good = "kit_svc_two";
    const verdicts = await Promise.all([1, 2, 3].map(() => latchkey.verify({ apiKey: "a" })));
    expect(verdicts.every(({ valid }) => valid)).toBe(true);
    expect(asked).toBe(2);
  });

  it("that is refused is LatchkeyCredentialError, told to `error` once", async () => {
    const { transport } = accepting(() => "kit_svc_other");
    await using latchkey = createLatchkey({ transport, credential });
    const told: Error[] = [];
    latchkey.on("error", (error) => {
      told.push(error);
      throw new Error("a listener's own fault harms nothing");
    });
    for (let at = 0; at < 3; at++) {
      await expect(latchkey.verify({ apiKey: "a" })).rejects.toBeInstanceOf(LatchkeyCredentialError);
    }
    await expect.poll(() => told).toHaveLength(1);
    expect(latchkey.stats()).toMatchObject({ state: "unavailable", failures: 3, verdicts: 0 });
  });

  it.each([() => Promise.reject(new Error("vault")), () => "", () => undefined as never, () => "two\nlines"])(
    "that can't be had is LatchkeyCredentialError (%#)",
    async (source) => {
      const { transport, seen } = accepting(() => "");
      await using latchkey = createLatchkey({ transport, credential: source });
      await expect(latchkey.verify({ apiKey: "a" })).rejects.toBeInstanceOf(LatchkeyCredentialError);
      expect(seen).toEqual([]);
    },
  );

  it("gives way to an `authorization` of the call", async () => {
    const { transport } = accepting(() => "a-person");
    await using latchkey = createLatchkey({ transport, credential });
    const headers = { authorization: "Bearer a-person" };
    await expect(latchkey.keys.verifyKey({}, { headers })).resolves.toMatchObject({ valid: true });
  });
});

describe("retries", () => {
  let server: Http2Server | undefined;
  afterEach(() => void server?.close());

  /** An HTTP/2 server that ends each stream as a test says. */
  async function listening(onStream: (stream: ServerHttp2Stream, number: number) => void) {
    let streams = 0;
    server = createServer();
    server.on("stream", (stream) => {
      stream.on("error", () => {});
      onStream(stream, ++streams);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    return { latchkey: createLatchkey({ baseUrl, credential, deadlineMs: 10_000 }), streams: () => streams };
  }

  it("happen for a stream that the server refused", async () => {
    const { latchkey, streams } = await listening((stream) => stream.close(constants.NGHTTP2_REFUSED_STREAM));
    await expect(latchkey.verify({ apiKey: "a" })).rejects.toBeInstanceOf(LatchkeyUnavailable);
    expect(streams()).toBe(4);
    expect(latchkey.stats().retries).toBe(3);
    await latchkey.close();
  });

  it("happen for a stream above the last one of a GOAWAY", async () => {
    // Node's own server can't name a last stream below the ones that it has seen.
    const [settings, goaway] = [frame(SETTINGS, 0, 0), frame(GOAWAY, 0, 0, Buffer.alloc(8))];
    let connections = 0;
    await using raw = createTcpServer((socket) => {
      connections++;
      socket.on("error", () => {});
      socket.write(settings);
      socket.once("data", () => setImmediate(() => socket.end(goaway)));
    });
    raw.listen(0, "127.0.0.1");
    await once(raw, "listening");
    const baseUrl = `http://127.0.0.1:${(raw.address() as AddressInfo).port}`;
    await using latchkey = createLatchkey({ baseUrl, credential, deadlineMs: 10_000 });
    await expect(latchkey.verify({ apiKey: "a" })).rejects.toBeInstanceOf(LatchkeyUnavailable);
    expect(connections).toBe(4);
  });

  it.each([constants.NGHTTP2_INTERNAL_ERROR, constants.NGHTTP2_CANCEL, constants.NGHTTP2_PROTOCOL_ERROR])(
    "don't happen for a stream that was reset with %d",
    async (code) => {
      const { latchkey, streams } = await listening((stream) => stream.close(code));
      await expect(latchkey.verify({ apiKey: "a" })).rejects.toBeInstanceOf(LatchkeyUnavailable);
      expect(streams()).toBe(1);
      await latchkey.close();
    },
  );

  it("don't happen for a proxy's 503, unless the call counts nothing", async () => {
    const { latchkey, streams } = await listening((stream) => {
      stream.respond({ ":status": 503 });
      stream.end();
    });
    await expect(latchkey.verify({ apiKey: "a" })).rejects.toBeInstanceOf(LatchkeyUnavailable);
    expect(streams()).toBe(1);
    await expect(latchkey.verify({ apiKey: "a", cost: 0 })).rejects.toBeInstanceOf(LatchkeyUnavailable);
    expect(streams()).toBe(5);
    await latchkey.close();
  });

  it("happen where nothing listens", async () => {
    const latchkey = createLatchkey({ baseUrl: "http://127.0.0.1:1", credential, deadlineMs: 10_000 });
    await expect(latchkey.verify({ apiKey: "a" })).rejects.toBeInstanceOf(LatchkeyUnavailable);
    expect(latchkey.stats().retries).toBe(3);
    await latchkey.close();
  });
});

describe("a server that speaks no HTTP/2", () => {
  it("is an error of the call, and none of the process if the client closes right afterwards", async () => {
    const uncaught: unknown[] = [];
    const listener = (error: unknown) => uncaught.push(error);
    process.prependListener("uncaughtException", listener);
    const closed: Promise<unknown>[] = [];
    await using raw = createTcpServer((socket) => {
      closed.push(once(socket, "close"));
      socket.on("error", () => {});
      socket.resume().end("HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    raw.listen(0, "127.0.0.1");
    await once(raw, "listening");
    const latchkey = createLatchkey({ baseUrl: `http://127.0.0.1:${(raw.address() as AddressInfo).port}`, credential });
    await expect(latchkey.keys.listKeys({})).rejects.toBeInstanceOf(ConnectError);
    await latchkey.close();
    await Promise.all(closed);
    // The session tells of its end two turns after its socket closed.
    for (let turns = 0; turns < 5; turns++) await new Promise(setImmediate);
    process.off("uncaughtException", listener);
    expect([closed.length, uncaught]).toEqual([1, []]);
  });
});
