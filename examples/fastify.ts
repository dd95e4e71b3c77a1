/** A Fastify service whose routes latchkey protects. */
import { createLatchkey } from "@latchkey/client";
import { rateLimit, requireApiKey, requireUser } from "@latchkey/client/fastify";
import fastify from "fastify";

const latchkey = createLatchkey({
  baseUrl: process.env.LATCHKEY_ADDRESS ?? "http://127.0.0.1:8080",
  credential: process.env.LATCHKEY_CREDENTIAL ?? "",
});
await latchkey.ready();

const app = fastify();

// An API key of the tier pro or enterprise, with a scope and a limit of this route.
const search = { name: "search", perMinute: 10, perDay: 500 };
const onRequest = requireApiKey(latchkey, { tiers: ["pro", "enterprise"], scopes: ["orders:read"], limits: [search] });
app.get("/orders", { onRequest }, async (request) => ({ orders: [], key: request.latchkey?.key?.id }));

// Every caller, at most five times a minute.
const byAddress = rateLimit(latchkey, { subject: (request) => request.ip, name: "news", perMinute: 5 });
app.get("/news", { onRequest: byAddress }, async () => ({ news: [] }));

// A person who is logged in.
app.get("/me", { onRequest: requireUser(latchkey) }, async (request) => ({ user: request.latchkey?.user?.userId }));

await app.listen({ host: "127.0.0.1", port: Number(process.env.PORT ?? 3000) });
console.log("listening on", app.server.address());
