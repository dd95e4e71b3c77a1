/** A Hono service on Node whose routes latchkey protects. */
import { serve } from "@hono/node-server";
import { getConnInfo } from "@hono/node-server/conninfo";
import { createLatchkey } from "@latchkey/client";
import { rateLimit, requireApiKey, requireUser } from "@latchkey/client/hono";
import { type Context, Hono } from "hono";

const latchkey = createLatchkey({
  baseUrl: process.env.LATCHKEY_ADDRESS ?? "http://127.0.0.1:8080",
  credential: process.env.LATCHKEY_CREDENTIAL ?? "",
});
await latchkey.ready();

const app = new Hono();
const address = (c: Context) => getConnInfo(c).remote.address;

// An API key of the tier pro or enterprise, with a scope and a limit of this route.
const search = { name: "search", perMinute: 10, perDay: 500 };
app.get(
  "/orders",
  requireApiKey(latchkey, { tiers: ["pro", "enterprise"], scopes: ["orders:read"], limits: [search], address }),
  (c) => c.json({ orders: [], key: c.get("latchkey").key?.id }),
);

// Every caller, at most five times a minute.
const byAddress = rateLimit(latchkey, { subject: (c) => address(c) ?? "unknown", name: "news", perMinute: 5 });
app.get("/news", byAddress, (c) => c.json({ news: [] }));

// A person who is logged in.
app.get("/me", requireUser(latchkey), (c) => c.json({ user: c.get("latchkey").user?.userId }));

serve({ fetch: app.fetch, hostname: "127.0.0.1", port: Number(process.env.PORT ?? 3000) }, (info) => {
  console.log("listening on", info);
});
