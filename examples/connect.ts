/** A service of Connect that latchkey protects. It speaks gRPC, gRPC-Web and Connect's own protocol. */
import { createServer } from "node:http2";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { createLatchkey } from "@latchkey/client";
import { latchkeyContext, latchkeyKey, requireApiKey } from "@latchkey/client/connect";
import { Orders } from "./gen/shop/v1/orders_pb.ts";

const latchkey = createLatchkey({
  baseUrl: process.env.LATCHKEY_ADDRESS ?? "http://127.0.0.1:8080",
  credential: process.env.LATCHKEY_CREDENTIAL ?? "",
});
await latchkey.ready();

const handler = connectNodeAdapter({
  // Interceptors see the sender's address by it.
  contextValues: latchkeyContext,
  interceptors: [requireApiKey(latchkey, { tiers: ["pro", "enterprise"], scopes: ["orders:read"] })],
  routes: (router) =>
    router.service(Orders, {
      listOrders: (_request, { values }) => ({ orders: [], keyId: values.get(latchkeyKey)?.key?.id ?? "" }),
    }),
});

const server = createServer(handler);
server.listen(Number(process.env.PORT ?? 3000), "127.0.0.1", () => console.log("listening on", server.address()));
