import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startFaultProxy } from "./fault-proxy.ts";

/** Sends back what it gets, and its end. */
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

  it("cut: resets connections and refuses new ones until restored", async () => {
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

  it("hang: accepts, passes nothing, and delivers in order once restored", async () => {
    await using proxy = await startFaultProxy(echoPort);
    const before = await dial(proxy.port);
    await exchange(before, "hello");
    proxy.hang();
    const during = await dial(proxy.port);
    before.write("a");
    before.write("b");
    during.write("c");
    // A connection past the proxy comes back from the same server: had the proxy passed anything, it would be here.
    await exchange(await dial(echoPort), "direct");
    expect([before.bytesRead, during.bytesRead]).toEqual([5, 0]);
    const answers = [read(before, 2), read(during, 1)];
    await proxy.restore();
    expect(await Promise.all(answers)).toEqual(["ab", "c"]);
  });

  it("delay: each direction takes at least the delay", async () => {
    await using proxy = await startFaultProxy(echoPort);
    const socket = await dial(proxy.port);
    await exchange(socket, "warm");
    proxy.delay(60);
    const start = performance.now();
    await exchange(socket, "slow");
    expect(performance.now() - start).toBeGreaterThanOrEqual(119);
  });

  it("trickle: passes a few bytes at a time, all of them and in order", async () => {
    await using proxy = await startFaultProxy(echoPort);
    const socket = await dial(proxy.port);
    await exchange(socket, "warm");
    proxy.trickle(10);
    const start = performance.now();
    expect(await exchange(socket, "0123456789".repeat(5))).toBe("0123456789".repeat(5));
    // Five pieces each way: the last leaves at least four ticks of 10 ms after the first.
    expect(performance.now() - start).toBeGreaterThanOrEqual(39);
  });

  it("reset: ends connections and accepts new ones", async () => {
    await using proxy = await startFaultProxy(echoPort);
    const socket = await dial(proxy.port);
    await exchange(socket, "hello");
    const reset = once(socket, "error").catch((error: Error) => [error]);
    proxy.reset();
    expect(String(await reset)).toContain("ECONNRESET");
    expect(await exchange(await dial(proxy.port), "again")).toBe("again");
  });

  it("refuse: open connections go on, new ones are refused until restored", async () => {
    await using proxy = await startFaultProxy(echoPort);
    const socket = await dial(proxy.port);
    await exchange(socket, "hello");
    proxy.refuse();
    await expect(dial(proxy.port)).rejects.toThrow("ECONNREFUSED");
    expect(await exchange(socket, "still here")).toBe("still here");
    await proxy.restore();
    expect(await exchange(await dial(proxy.port), "again")).toBe("again");
  });

  it("hang of answers: what is asked arrives, and its answer comes once restored", async () => {
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

  it("an answer is lost: the question arrived, nothing comes back on that connection, and others are not touched", async () => {
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

  it("a dead server behind it shows as a reset", async () => {
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
