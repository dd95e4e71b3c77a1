import { once } from "node:events";
import { type AddressInfo, createServer, Socket } from "node:net";
import { MikroORM } from "@mikro-orm/postgresql";
import { expect, it, vi } from "vitest";
import { managementOptions, readOptions } from "../../src/postgres/connections/orm-options.ts";
import { FollowedHistory } from "../../src/postgres/history/followed-history.ts";
import { postgresTarget } from "../support/database.ts";

const history = new FollowedHistory();

it.each([
  ["hot reads", (url: string) => readOptions(postgresTarget(url), history)],
  ["management", (url: string) => managementOptions(postgresTarget(url), history)],
])(
  "an idle connection for %s sends a TCP keep-alive every 30 s, before a balancer forgets it",
  async (_what, options) => {
    const heard = vi.spyOn(Socket.prototype, "setKeepAlive");
    // Accepts connections, and closes them at once.
    const server = createServer((socket) => socket.destroy()).listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const orm = await MikroORM.init(options(`postgres://nobody@127.0.0.1:${port}/nothing`) as never);
    await expect(orm.em.getConnection().execute("select 1")).rejects.toThrow();
    expect(heard.mock.calls).toEqual([[true, 30_000]]);
    await orm.close(true);
    server.close();
    await once(server, "close");
  },
);
