import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startFaultProxy } from "./fault-proxy.ts";

/** A server that sends back all bytes, and closes when its client does. */
const echo = createServer((socket) => socket.on("error", () => {}).pipe(socket));
let echoPort = 0;

beforeAll(async () => {
  echo.listen(0, "127.0.0.1");
  await once(echo, "listening");
  echoPort = (echo.address() as AddressInfo).port;
});
afterAll(() => void echo.close());

describe("a fault proxy", () => {
  it("passes bytes and their end both ways", async () => {
    await using proxy = await startFaultProxy(echoPort);
    const socket = await dial(proxy.port);
    expect(await exchange(socket, "hello")).toBe("hello");
    socket.end();
    await once(socket, "end");
    expect(proxy.accepted()).toBe(1);
  });

  it("resets connections and refuses new ones from cut until restore", async () => {
    await using proxy = await startFaultProxy(echoPort);
    const socket = await dial(proxy.port);
    await exchange(socket, "hello");
    const reset = once(socket, "error").catch((error: Error) => [error]);
    await proxy.cut();
    expect(String(await reset)).toContain("ECONNRESET");
    await expect(dial(proxy.port)).rejects.toThrow("ECONNREFUSED");
    await proxy.restore();
    expect(await exchange(await dial(proxy.port), "again")).toBe("again");
  });

  it("accepts connections and passes nothing after hang, and delivers in order after restore", async () => {
    await using proxy = await startFaultProxy(echoPort);
    const before = await dial(proxy.port);
    await exchange(before, "hello");
    proxy.hang();
    const during = await dial(proxy.port);
    before.write("a");
    before.write("b");
    during.write("c");
    // A direct connection to the same server gets its answer. If the proxy had passed a byte, it would have arrived
    // too.
    await exchange(await dial(echoPort), "direct");
    expect([before.bytesRead, during.bytesRead]).toEqual([5, 0]);
    const answers = [read(before, 2), read(during, 1)];
    await proxy.restore();
    expect(await Promise.all(answers)).toEqual(["ab", "c"]);
  });

  it("delays each direction by at least the given time", async () => {
    await using proxy = await startFaultProxy(echoPort);
    const socket = await dial(proxy.port);
    await exchange(socket, "warm");
    proxy.delay(60);
    const start = performance.now();
    await exchange(socket, "slow");
    expect(performance.now() - start).toBeGreaterThanOrEqual(119);
  });

  it("passes a few bytes at a time in trickle, all of them and in order", async () => {
    await using proxy = await startFaultProxy(echoPort);
    const socket = await dial(proxy.port);
    await exchange(socket, "warm");
    proxy.trickle(10);
    const start = performance.now();
    expect(await exchange(socket, "0123456789".repeat(5))).toBe("0123456789".repeat(5));
    // Five pieces each way: the last one leaves at least four ticks of 10 ms after the first.
    expect(performance.now() - start).toBeGreaterThanOrEqual(39);
  });

  it("ends connections and accepts new ones at reset", async () => {
    await using proxy = await startFaultProxy(echoPort);
    const socket = await dial(proxy.port);
    await exchange(socket, "hello");
    const reset = once(socket, "error").catch((error: Error) => [error]);
    proxy.reset();
    expect(String(await reset)).toContain("ECONNRESET");
    expect(await exchange(await dial(proxy.port), "again")).toBe("again");
  });

  it("keeps open connections and refuses new ones from refuse until restore", async () => {
    await using proxy = await startFaultProxy(echoPort);
    const socket = await dial(proxy.port);
    await exchange(socket, "hello");
    proxy.refuse();
    await expect(dial(proxy.port)).rejects.toThrow("ECONNREFUSED");
    expect(await exchange(socket, "still here")).toBe("still here");
    await proxy.restore();
    expect(await exchange(await dial(proxy.port), "again")).toBe("again");
  });

  it("passes questions and no answers after a hang of answers, and passes the answers after restore", async () => {
    let heard = 0;
    const counting = createServer((socket) => {
      socket.on("error", () => {});
      socket.on("data", (data) => {
        heard += data.length;
        socket.write(data);
      });
    });
    counting.listen(0, "127.0.0.1");
    await once(counting, "listening");
    await using proxy = await startFaultProxy((counting.address() as AddressInfo).port);
    const socket = await dial(proxy.port);
    await exchange(socket, "hello");
    proxy.hang("answers");
    const answer = read(socket, "question".length);
    socket.write("question");
    await expect.poll(() => heard).toBe("helloquestion".length);
    expect(socket.bytesRead).toBe("hello".length);
    await proxy.restore();
    expect(await answer).toBe("question");
    counting.close();
  });

  it("loses the answer to a question that arrived, and passes the answers of other connections", async () => {
    await using proxy = await startFaultProxy(echoPort);
    const [asking, other] = [await dial(proxy.port), await dial(proxy.port)];
    const lost = proxy.loseAnswerTo("first", "second");
    expect(await exchange(asking, "first")).toBe("first");
    expect(await exchange(other, "second")).toBe("second");
    asking.write("the sec");
    asking.write("ond");
    await lost;
    expect(await exchange(other, "first second")).toBe("first second");
    await exchange(await dial(echoPort), "direct");
    expect("first".length + "the sec".length).toBeGreaterThanOrEqual(asking.bytesRead);
    await proxy.cut();
    expect(String(await once(asking, "error").catch((error: Error) => [error]))).toContain("ECONNRESET");
  });

  it("resets a connection to a dead server", async () => {
    await using target = await startFaultProxy(echoPort);
    await using proxy = await startFaultProxy(target.port);
    await target.cut();
    const socket = await dial(proxy.port);
    expect(String(await once(socket, "error").catch((error: Error) => [error]))).toContain("ECONNRESET");
  });
});

async function dial(port: number): Promise<Socket> {
  const socket = connect(port, "127.0.0.1");
  await once(socket, "connect");
  return socket;
}

async function exchange(socket: Socket, text: string): Promise<string> {
  const answer = read(socket, text.length);
  socket.write(text);
  return answer;
}

function read(socket: Socket, length: number): Promise<string> {
  return new Promise((resolve, reject) => {
    let got = "";
    const take = (data: Buffer): void => {
      got += data.toString();
      if (got.length < length) return;
      socket.off("data", take);
      resolve(got);
    };
    socket.on("data", take);
    socket.once("error", reject);
  });
}
