import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { describe, expect, it, onTestFinished } from "vitest";
import { PacedSocket } from "../../src/rpc/connections/paced-socket.ts";
import { until } from "../support/until.ts";

describe("a connection of HTTP/1.1", () => {
  it("is destroyed in its turn after its client has closed it", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    onTestFinished(() => void server.close());
    await once(server, "listening");
    const client = connect((server.address() as AddressInfo).port, "127.0.0.1");
    const [socket] = (await once(server, "connection")) as [Socket];
    const ends: { readonly address: string; readonly task: () => void }[] = [];
    const paced = new PacedSocket(socket, {
      piece: async () => true,
      end: (address, task) => ends.push({ address, task }),
    });
    client.resetAndDestroy();
    paced.on("error", () => {});
    await until(() => ends.length === 1);
    expect([paced.destroyed, ends[0]!.address]).toEqual([false, "127.0.0.1"]);
    ends[0]!.task();
    expect(paced.destroyed).toBe(true);
  });
});
