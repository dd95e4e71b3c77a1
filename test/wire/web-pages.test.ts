import { connect } from "node:http2";
import { afterEach, describe, expect, it, vi } from "vitest";
import { UnreadAnswers } from "../../src/rpc/lanes/unread-answers.ts";
import { OpsServer } from "../../src/rpc/ops/ops-server.ts";
import { type FrontDoor, type FrontDoorSetup, startFrontDoor } from "../support/front-door.ts";

let wire: FrontDoor | undefined;
afterEach(() => wire?.server.stop());

async function start(setup: FrontDoorSetup = {}): Promise<string> {
  wire = await startFrontDoor(setup);
  return `http://${wire.address}`;
}

describe("the key set", () => {
  it("is served with a max-age", async () => {
    const response = await fetch(`${await start()}/.well-known/jwks.json`);
    expect(response.status).toBe(200);
    expect(response.headers.get("cache-control")).toBe("public, max-age=300");
    expect(response.headers.get("content-type")).toBe("application/jwk-set+json");
    expect(await response.json()).toEqual({ keys: [{ kty: "OKP", kid: "k1" }] });
  });

  it("is served over HTTP/2", async () => {
    const session = connect(await start());
    const stream = session.request({ ":path": "/.well-known/jwks.json" });
    stream.setEncoding("utf8");
    let body = "";
    for await (const chunk of stream) body += chunk;
    expect(JSON.parse(body).keys).toHaveLength(1);
    session.close();
  });

  it("is answered with 503 and no-store while the keys are unreachable", async () => {
    const jwks = () => Promise.reject(new Error("connect 10.0.0.1 secret"));
    const response = await fetch(`${await start({ deps: { jwks } })}/.well-known/jwks.json`);
    expect(response.status).toBe(503);
    expect(response.headers.get("cache-control")).toBe("no-store");
    expect(await response.text()).not.toContain("secret");
  });

  it("answers HEAD, and refuses methods that write", async () => {
    const url = `${await start()}/.well-known/jwks.json`;
    const head = await fetch(url, { method: "HEAD" });
    expect([head.status, await head.text()]).toEqual([200, ""]);
    expect((await fetch(url, { method: "POST", body: "x" })).status).toBe(405);
  });
});

describe("the description of the REST paths", () => {
  it("is served as JSON that a browser asks for again, and is not sent to one that has it", async () => {
    const url = `${await start()}/openapi.json`;
    const response = await fetch(url);
    expect([response.status, response.headers.get("content-type")]).toEqual([200, "application/json"]);
    expect(response.headers.get("cache-control")).toBe("no-cache");
    expect(response.headers.get("x-content-type-options")).toBe("nosniff");
    const text = await response.text();
    expect(response.headers.get("content-length")).toBe(String(Buffer.byteLength(text)));
    expect(JSON.parse(text).paths["/v1/keys:verify"]).toHaveProperty("post");
    const etag = response.headers.get("etag")!;
    for (const tag of [etag, `W/${etag}`, `"another", ${etag}`, "*"]) {
      const again = await fetch(url, { headers: { "if-none-match": tag } });
      expect([tag, again.status, await again.text()]).toEqual([tag, 304, ""]);
    }
    expect((await fetch(url, { headers: { "if-none-match": '"another"' } })).status).toBe(200);
  });

  it("answers HEAD, and refuses methods that write", async () => {
    const url = `${await start()}/openapi.json`;
    const head = await fetch(url, { method: "HEAD" });
    expect([head.status, Number(head.headers.get("content-length")) > 50_000, await head.text()]).toEqual([
      200,
      true,
      "",
    ]);
    const post = await fetch(url, { method: "POST", body: "x" });
    expect([post.status, post.headers.get("allow")]).toEqual([405, "GET, HEAD"]);
  });
});

describe("the page /docs", () => {
  const FILES = ["/docs/start.js", "/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css"];

  it("is not there unless it is asked for", async () => {
    const baseUrl = await start();
    for (const path of ["/docs", ...FILES]) expect((await fetch(baseUrl + path)).status).toBe(404);
  });

  it("loads its own files alone, and no page may frame it", async () => {
    const baseUrl = await start({ options: { docsPage: true } });
    const page = await fetch(`${baseUrl}/docs`);
    expect([page.status, page.headers.get("content-type")]).toEqual([200, "text/html; charset=utf-8"]);
    expect(page.headers.get("content-security-policy")).toBe(
      "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    );
    const links = [...(await page.text()).matchAll(/(?:src|href)="(?!data:)([^"]*)"/g)].map(([, link]) => `/${link}`);
    expect(links.sort()).toEqual(FILES);
    for (const path of FILES) {
      const file = await fetch(baseUrl + path);
      expect([path, file.status, file.headers.get("x-content-type-options")]).toEqual([path, 200, "nosniff"]);
      expect((await file.arrayBuffer()).byteLength).toBe(Number(file.headers.get("content-length")));
    }
  });

  it("holds a piece of a large file at most for a client that does not read it", async () => {
    const baseUrl = await start({ options: { docsPage: true } });
    let unread = 0;
    const cutUnlessRead = vi.spyOn(UnreadAnswers.prototype, "cutUnlessRead").mockImplementation((sink) => {
      unread = Math.max(unread, sink.writableLength);
    });
    const session = connect(baseUrl, { settings: { initialWindowSize: 1024 } });
    const stream = session.request({ ":path": "/docs/swagger-ui-bundle.js" });
    await vi.waitFor(() => expect(cutUnlessRead).toHaveBeenCalled());
    expect(unread).toBeGreaterThan(0);
    expect(unread).toBeLessThanOrEqual(64 * 1024);
    stream.close();
    session.close();
    cutUnlessRead.mockRestore();
    const reader = connect(baseUrl);
    let bytes = 0;
    for await (const piece of reader.request({ ":path": "/docs/swagger-ui-bundle.js" })) bytes += piece.length;
    expect(bytes).toBeGreaterThan(1_000_000);
    reader.close();
  });
});

it("any other path is answered with 404", async () => {
  const baseUrl = await start();
  for (const path of ["/", "/favicon.ico", "/.well-known/", "/healthz", "/metrics"]) {
    expect((await fetch(baseUrl + path)).status).toBe(404);
  }
});

describe("a web page", () => {
  const ORIGIN = "https://console.example.com";
  const LOGIN = "/latchkey.v1.AuthService/Login";
  const preflight = (baseUrl: string, origin: string) =>
    fetch(baseUrl + LOGIN, {
      method: "OPTIONS",
      headers: {
        origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
      },
    });
  const post = (baseUrl: string, origin: string) =>
    fetch(baseUrl + LOGIN, { method: "POST", headers: { origin, "content-type": "application/json" }, body: "{}" });

  it("may call from a configured origin", async () => {
    const baseUrl = await start({ options: { corsOrigins: [ORIGIN] }, auth: { login: async () => ({}) } });
    const { status, headers } = await preflight(baseUrl, ORIGIN);
    expect(status).toBe(204);
    expect(headers.get("access-control-allow-origin")).toBe(ORIGIN);
    expect(headers.get("access-control-allow-headers")?.toLowerCase()).toContain("authorization");
    expect(headers.get("access-control-allow-credentials")).toBeNull();
    const answer = await post(baseUrl, ORIGIN);
    expect([answer.status, answer.headers.get("access-control-allow-origin")]).toEqual([200, ORIGIN]);
    expect(answer.headers.get("vary")).toBe("Origin");
  });

  it("may not call from another origin, and from none when none is configured", async () => {
    const baseUrl = await start({ options: { corsOrigins: [ORIGIN] }, auth: { login: async () => ({}) } });
    for (const response of [
      await preflight(baseUrl, "https://evil.example"),
      await post(baseUrl, "https://evil.example"),
    ]) {
      expect(response.headers.get("access-control-allow-origin")).toBeNull();
    }
    await wire?.server.stop();
    const closed = await start({ auth: { login: async () => ({}) } });
    expect((await post(closed, ORIGIN)).headers.get("access-control-allow-origin")).toBeNull();
  });
});

describe("the operators' port", () => {
  it("serves health and metrics, and nothing else", async () => {
    let isServing = true;
    const ops = new OpsServer({
      log: { info: () => {}, warn: () => {}, error: () => {}, flush: () => {} },
      isServing: () => isServing,
      metrics: async () => "up 1\n",
    });
    const address = await ops.start({ host: "127.0.0.1", port: 0 });
    const ask = async (path: string, method = "GET") => {
      const response = await fetch(`http://${address}${path}`, { method });
      return [response.status, await response.text()];
    };
    expect(await ask("/healthz")).toEqual([200, "ok\n"]);
    isServing = false;
    expect(await ask("/healthz")).toEqual([503, "not serving\n"]);
    expect(await ask("/metrics")).toEqual([200, "up 1\n"]);
    expect(await ask("/")).toEqual([404, "not found\n"]);
    expect(await ask("/metrics", "POST")).toEqual([405, "method not allowed\n"]);
    await ops.stop();
    await expect(fetch(`http://${address}/healthz`)).rejects.toThrow();
  });

  it("answers a fault in the metrics with 500 and no detail", async () => {
    const causes: unknown[] = [];
    const ops = new OpsServer({
      log: { info: () => {}, warn: () => {}, error: (_message, _fields, cause) => causes.push(cause), flush: () => {} },
      isServing: () => true,
      metrics: () => Promise.reject(new Error("secret")),
    });
    const address = await ops.start({ host: "127.0.0.1", port: 0 });
    const response = await fetch(`http://${address}/metrics`);
    expect([response.status, await response.text()]).toEqual([500, "metrics failed\n"]);
    expect(causes).toHaveLength(1);
    await ops.stop();
  });
});
