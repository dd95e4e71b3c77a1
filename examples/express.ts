/** An Express service whose routes latchkey protects. */
import { createLatchkey } from "@latchkey/client";
import { rateLimit, requireApiKey, requireUser } from "@latchkey/client/express";
import express from "express";

const latchkey = createLatchkey({
  baseUrl: process.env.LATCHKEY_ADDRESS ?? "http://127.0.0.1:8080",
  credential: process.env.LATCHKEY_CREDENTIAL ?? "",
});
await latchkey.ready();

const app = express();

// An API key of the tier pro or enterprise, with a scope and a limit of this route.
const search = { name: "search", perMinute: 10, perDay: 500 };
app.get(
  "/orders",
  requireApiKey(latchkey, { tiers: ["pro", "enterprise"], scopes: ["orders:read"], limits: [search] }),
  (request, response) => {
    response.json({ orders: [], key: request.latchkey?.key?.id });
  },
);

// Every caller, at most five times a minute.
const byAddress = rateLimit(latchkey, { subject: (request) => request.ip ?? "unknown", name: "news", perMinute: 5 });
app.get("/news", byAddress, (_request, response) => {
  response.json({ news: [] });
});

// A person who is logged in.
app.get("/me", requireUser(latchkey), (request, response) => {
  response.json({ user: request.latchkey?.user?.userId });
});

const server = app.listen(Number(process.env.PORT ?? 3000), "127.0.0.1", () => {
  console.log("listening on", server.address());
});
