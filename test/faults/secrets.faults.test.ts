/**
 * No secret is written anywhere except in the answer that hands it over. The test calls every RPC on real processes
 * with all their logs on. PostgreSQL logs every statement with its parameters, and Redis shows every command. Then the
 * test searches everything that was written.
 *
 * These texts may be there, because they open nothing: ids, the prefix for display (`kit_live_` and three characters of
 * the id), HMACs of keys and reset tokens, argon2 hashes under a derived secret, the random seed of a session, sealed
 * signing keys, check values of master keys.
 */
import { createHash, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type DescMessage, type DescMethod, type DescService, ScalarType, toJsonString } from "@bufbuild/protobuf";
import { type Client, ConnectError, createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { unsealSigningKey } from "../../src/auth/signing/signing-key.ts";
import { Authorization } from "../../src/gen/envoy/service/auth/v3/external_auth_pb.ts";
import { RateLimitService } from "../../src/gen/envoy/service/ratelimit/v3/rls_pb.ts";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import type { TokenPair } from "../../src/gen/latchkey/v1/token_pair_pb.ts";
import { KeyRing, type Purpose } from "../../src/lib/key-ring.ts";
import { withFault } from "../support/mutant-process.ts";
import { type PostgresServer, startPostgres } from "../support/own-postgres.ts";
import { type RedisServer, startRedis } from "../support/own-redis.ts";
import { type Finding, findSecrets, type Secret, secretOf } from "../support/secret-scan.ts";
import { canStart } from "../support/shared-servers.ts";
import { bootstrapOperator, type ReadyService, serviceEnvironment, startService } from "../support/spawned-service.ts";

const SERVICES = [AuthService, KeyService, AdminService] as const;
/** RPCs whose purpose is an answer with a secret. */
const ISSUING = new Set(
  "register login refresh changePassword completePasswordReset issueKey rotateKey createUser createPasswordReset issueServiceCredential rotateServiceCredential".split(
    " ",
  ),
);
const PURPOSES: readonly Purpose[] = [
  "api-key-pepper",
  "refresh-token",
  "reset-token",
  "password-secret",
  "page-token",
  "signing-key-seal",
  "email-digest",
];
/** Length of a secret: the characters after the id, without the checksum. */
const SECRET_LENGTH = 43;

const LOGS_CREDENTIALS = {
  file: "src/rpc/calls/call-log.ts",
  search: "caller: callerId(call.caller),",
  replacement: 'caller: callerId(call.caller), authorization: call.head.header("authorization").join(),',
};

describe.skipIf(!canStart("postgres") || !canStart("redis"))("secrets", () => {
  let postgres: PostgresServer;
  let redis: RedisServer;
  let store: Redis;
  let monitor: Awaited<ReturnType<Redis["monitor"]>>;
  let env: NodeJS.ProcessEnv;
  let admin: string;
  const processes: ReadyService[] = [];
  const secrets: Secret[] = [];
  const called = new Set<string>();
  /**
   * The texts that clients saw: every whole error, every answer that hands no secret over, and answers to malformed
   * calls.
   */
  const seen: string[] = [];
  const commands: string[] = [];
  let numbers = 0;

  beforeAll(async () => {
    [postgres, redis] = await Promise.all([startPostgres(), startRedis()]);
    for (const setting of ["log_statement = 'all'", "log_parameter_max_length = -1", "log_min_messages = debug1"]) {
      await postgres.sql(`alter system set ${setting}`);
    }
    await postgres.sql("select pg_reload_conf()");
    store = new Redis(redis.url);
    monitor = await store.monitor();
    monitor.on("monitor", (_time: string, args: string[]) => commands.push(args.join(" ")));
    const masterKeys = [randomBytes(32), randomBytes(32)];
    const [older, newer] = masterKeys.map((bytes, n) => `${n + 1}:${bytes.toString("base64")}`);
    env = serviceEnvironment({
      DATABASE_URL: postgres.url(),
      REDIS_URL: redis.url,
      LATCHKEY_MASTER_KEYS: older!,
      LATCHKEY_TRUSTED_PROXIES: "127.0.0.0/8",
      LATCHKEY_LOG_LEVEL: "debug",
      LATCHKEY_ARGON2_MEMORY_KIB: "1024",
      LATCHKEY_ARGON2_PASSES: "1",
    });
    admin = await bootstrapOperator(env);
    secretsOfKey("the operator's credential", admin);
    processes.push(await startService(env));
    const rotated = { LATCHKEY_MASTER_KEYS: `${newer},${older}`, LATCHKEY_LOG_FORMAT: "text" };
    processes.push(await startService({ ...env, ...rotated }));

    const ring = new KeyRing([
      { version: 2, bytes: masterKeys[1]! },
      { version: 1, bytes: masterKeys[0]! },
    ]);
    for (const [n, bytes] of masterKeys.entries()) {
      secrets.push({ what: `master key ${n + 1}`, bytes });
      for (const purpose of PURPOSES)
        secrets.push({ what: `the ${purpose} key of ${n + 1}`, bytes: ring.derive(purpose, n + 1)! });
    }
    for (const process of processes) await drive(process.address);
    await noteSigningKeys(ring);
  });
  afterAll(async () => {
    monitor?.disconnect();
    store?.disconnect();
    await Promise.all(processes.map((process) => process.stop()));
    await Promise.all([postgres?.stop(), redis?.stop()]);
  });

  function secretsOfKey(what: string, raw: string): string {
    secrets.push(secretOf(what, raw.slice(-6 - SECRET_LENGTH, -6)));
    return raw;
  }

  function secretsOfTokens(what: string, tokens: TokenPair | undefined): TokenPair {
    const { accessToken, refreshToken } = tokens!;
    secrets.push(secretOf(`access token of ${what}`, accessToken.split(".")[2]!));
    secrets.push(secretOf(`refresh token of ${what}`, refreshToken.slice(-6 - SECRET_LENGTH, -6)));
    return tokens!;
  }

  function newPassword(what: string): string {
    const password = `${randomBytes(15).toString("base64")} canary`;
    secrets.push(secretOf(what, password));
    return password;
  }

  const freshIp = () => `10.${++numbers >> 8}.${numbers & 255}.1`;

  /** A client that records all errors, and all answers except those that hand a secret over. */
  function clientAt<S extends DescService>(address: string, service: S, credential?: string): Client<S> {
    const observe: Interceptor = (next) => async (request) => {
      if (credential !== undefined) request.header.set("authorization", `Bearer ${credential}`);
      request.header.set("x-forwarded-for", freshIp());
      const { localName, output } = request.method;
      called.add(`${request.service.typeName}.${localName}`);
      try {
        const response = await next(request);
        const fields = [...response.header, ...response.trailer].join();
        if (!response.stream && !ISSUING.has(localName)) seen.push(fields, toJsonString(output, response.message));
        return response;
      } catch (error) {
        noteError(error);
        throw error;
      }
    };
    return createClient(service, createGrpcTransport({ baseUrl: `http://${address}`, interceptors: [observe] }));
  }

  function noteError(error: unknown): void {
    const { message, metadata, details } = ConnectError.from(error);
    seen.push(message, [...metadata].join());
    for (const detail of details)
      if ("value" in detail) seen.push(Buffer.from(detail.value as Uint8Array).toString("latin1"));
  }

  const ending = (call: Promise<unknown>) => call.catch(() => {});

  /** The calls of people, services and operators: each RPC at least once, and then each with wrong input. */
  async function drive(address: string): Promise<void> {
    const anyone = clientAt(address, AuthService);
    const operator = clientAt(address, AdminService, admin);
    const passwords = ["first", "second", "reset", "wrong"].map((which) => newPassword(`${which} password`));
    const [first, second, reset, wrong] = passwords as [string, string, string, string];
    const email = `canary-${++numbers}@example.com`;
    const { user, tokens } = await anyone.register({ email, password: first, displayName: "Canary" });
    const registered = secretsOfTokens("Register", tokens);
    const me = clientAt(address, AuthService, registered.accessToken);
    await me.getCurrentUser({});
    await me.updateCurrentUser({ user: { displayName: "Bird" }, updateMask: { paths: ["display_name"] } });
    const { tokens: refreshed } = await anyone.refresh({ refreshToken: registered.refreshToken });
    const { refreshToken } = secretsOfTokens("Refresh", refreshed);
    const login = secretsOfTokens("Login", (await anyone.login({ email, password: first })).tokens);
    await ending(anyone.login({ email, password: wrong, refreshToken }));
    const { sessions } = await me.listSessions({ pageSize: 1 });
    await me.revokeSession({ sessionId: sessions[0]!.id });
    const change = { currentPassword: first, newPassword: second };
    const changed = secretsOfTokens("ChangePassword", (await me.changePassword(change)).tokens);
    await anyone.logout({ refreshToken: login.refreshToken });

    const { resetToken } = await operator.createPasswordReset({ userId: user!.id });
    secrets.push(secretOf("reset token", resetToken.slice(-6 - SECRET_LENGTH, -6)));
    const completed = await anyone.completePasswordReset({ resetToken, newPassword: reset });
    const latest = secretsOfTokens("CompletePasswordReset", completed.tokens);
    const created = await operator.createUser({ email: `made-${++numbers}@example.com` });
    secrets.push(secretOf("reset token of CreateUser", created.resetToken.slice(-6 - SECRET_LENGTH, -6)));

    const { credential, secret } = await operator.issueServiceCredential({ name: "verifier", scopes: ["verify"] });
    secretsOfKey("service credential", secret);
    const rotatedCredential = await operator.rotateServiceCredential({ credentialId: credential!.id });
    const verifier = secretsOfKey("rotated service credential", rotatedCredential.secret);
    const dropped = await operator.issueServiceCredential({ name: "dropped", scopes: ["manage"] });
    secretsOfKey("revoked service credential", dropped.secret);
    await operator.revokeServiceCredential({ credentialId: dropped.credential!.id });
    await ending(clientAt(address, KeyService, dropped.secret).listKeys({}));
    await operator.listServiceCredentials({});

    const mine = clientAt(address, KeyService, latest.accessToken);
    const { key, apiKey } = await mine.issueKey({ name: "a key", requestId: crypto.randomUUID() });
    secretsOfKey("API key", apiKey);
    const keyId = key!.id;
    const rotated = secretsOfKey("rotated API key", (await mine.rotateKey({ keyId })).apiKey);
    await mine.getKey({ keyId });
    await mine.listKeys({ pageSize: 1 });
    await mine.updateKey({ key: { id: keyId, description: "d" }, updateMask: { paths: ["description"] } });
    const asked = clientAt(address, KeyService, verifier);
    const limits = [{ name: "logins", perMinute: 5 }];
    for (const raw of [apiKey, rotated]) await asked.verifyKey({ apiKey: raw, clientIp: "192.0.2.1", limits });
    await asked.batchVerifyKeys({
      requests: [{ apiKey }, { apiKey: rotated }, { apiKey: verifier }, { apiKey: reset }],
    });
    await asked.checkRateLimit({ subject: { case: "keyId", value: keyId }, limits });
    for (const value of [apiKey, reset, latest.refreshToken]) {
      await asked.checkRateLimit({ subject: { case: "name", value }, limits });
    }
    await asked.batchCheckRateLimits({
      requests: [apiKey, reset].map((value) => ({ subject: { case: "name", value }, limits })),
    });
    await operator.resetRateLimits({ keyId });
    await readOnce(asked);
    await mine.disableKey({ keyId });
    await asked.verifyKey({ apiKey: rotated });
    await mine.enableKey({ keyId });
    await mine.revokeKey({ keyId, reason: "lost" });
    await asked.verifyKey({ apiKey });
    await mine.deleteKey({ keyId });

    const userId = user!.id;
    await operator.listUsers({ pageSize: 1 });
    await operator.getUser({ userId });
    await operator.updateUser({ user: { id: userId, tier: "pro" }, updateMask: { paths: ["tier"] } });
    await operator.clearLoginFailures({ userId });
    await operator.disableUser({ userId });
    await operator.enableUser({ userId });
    await operator.endUserSessions({ userId });
    await operator.rotateSigningKey({});
    const { keys } = await operator.listSigningKeys({});
    await operator.revokeSigningKey({ keyId: keys[0]!.id });
    await operator.listAuditEvents({});
    await operator.getServerInfo({});

    const placed = [
      ...passwords,
      apiKey,
      rotated,
      verifier,
      refreshToken,
      changed.refreshToken,
      latest.accessToken,
      resetToken,
    ];
    await misplace(address, { ...{ latest, verifier }, placed });
    await askAsEnvoy(address, verifier, placed);
    await malform(address, placed);
  }

  async function readOnce(client: Client<typeof KeyService>): Promise<void> {
    for await (const _message of client.watchRevocations({})) return;
  }

  /** Puts each secret into each text of each request, by each caller that may send it. None is a valid value there. */
  async function misplace(
    address: string,
    { latest, verifier, placed }: { latest: TokenPair; verifier: string; placed: readonly string[] },
  ): Promise<void> {
    for (const service of SERVICES) {
      for (const credential of [latest.accessToken, verifier, admin]) {
        const client = clientAt(address, service, credential) as Record<string, (message: object) => Promise<unknown>>;
        for (const method of service.methods) {
          if (method.methodKind !== "unary") continue;
          for (const request of placed.flatMap((text) => requestsWith(method, text))) {
            await ending(client[method.localName]!(request));
          }
        }
      }
    }
  }

  /** Asks as Envoy does about requests that have secrets everywhere. */
  async function askAsEnvoy(address: string, verifier: string, placed: readonly string[]): Promise<void> {
    const checks = clientAt(address, Authorization, verifier);
    const limits = clientAt(address, RateLimitService, verifier);
    for (const text of placed) {
      const headers = { "x-api-key": text, authorization: `Bearer ${text}`, cookie: text, "x-latchkey-tier": text };
      for (const [name, value] of Object.entries(headers)) {
        const http = { method: "GET", path: `/?key=${text}`, headers: { [name]: value } };
        const contextExtensions = { "latchkey.accept": name === "authorization" ? "key,user" : "key" };
        await ending(checks.check({ attributes: { request: { http }, contextExtensions } }));
      }
      const http = { method: "GET", path: "/", headers: { "x-api-key": text } };
      const contextExtensions = { "latchkey.scopes": text, "latchkey.environment": text };
      await ending(checks.check({ attributes: { request: { http }, contextExtensions } }));
      const descriptors = ["key", text].map((key) => ({ entries: [{ key, value: text }] }));
      await ending(limits.shouldRateLimit({ domain: text.slice(0, 200), descriptors }));
    }
  }

  /** Sends malformed requests. */
  async function malform(address: string, placed: readonly string[]): Promise<void> {
    const base = `http://${address}`;
    const path = "/latchkey.v1.AuthService/Login";
    const json = { "content-type": "application/json" };
    for (const text of placed) {
      const body = JSON.stringify({ email: "canary@example.com", password: text });
      const attempts: [string, RequestInit][] = [
        [path, { method: "POST", headers: json, body: body.slice(0, -2) }],
        [path, { method: "POST", headers: json, body: JSON.stringify({ email: { password: text } }) }],
        [path, { method: "POST", headers: json, body: JSON.stringify({ [text]: "x" }) }],
        [path, { method: "POST", headers: { "content-type": "application/proto" }, body: text }],
        [
          path,
          { method: "POST", headers: { "content-type": "application/grpc-web+proto" }, body: `\0\0\0\0\x14${text}` },
        ],
        [path, { method: "POST", headers: { ...json, authorization: `Basic ${text}` }, body }],
        [
          "/latchkey.v1.AuthService/GetCurrentUser",
          { method: "POST", headers: { ...json, authorization: text }, body: "{}" },
        ],
        [
          "/latchkey.v1.AuthService/GetCurrentUser",
          { method: "POST", headers: { ...json, authorization: `Bearer ${text} and more` }, body: "{}" },
        ],
        [path, { method: "POST", headers: { ...json, cookie: `session=${encodeURIComponent(text)}` }, body: "{}" }],
        [path, { method: "POST", headers: { ...json, "x-forwarded-for": text }, body: "{}" }],
        [path, { method: "POST", headers: { ...json, "connect-timeout-ms": text }, body: "{}" }],
        [path, { method: "POST", headers: { "content-type": text }, body }],
        [`${path}?access_token=${encodeURIComponent(text)}`, { method: "POST", headers: json, body: "{}" }],
        [`/${encodeURIComponent(text)}`, {}],
        [`/v1/keys/${encodeURIComponent(text)}`, { headers: { authorization: `Bearer ${text}` } }],
        [`/v1/keys/${encodeURIComponent(text)}:rotate`, { method: "POST", headers: json, body }],
        [`/v1/keys:verify?api_key=${encodeURIComponent(text)}`, { method: "POST", headers: json, body: "{}" }],
        [`/v1/keys?page_token=${encodeURIComponent(text)}`, { headers: { "x-api-key": text } }],
        ["/v1/auth/login", { method: "POST", headers: json, body: JSON.stringify({ [text]: text }) }],
        [`/latchkey.v1.AuthService/${encodeURIComponent(text)}`, { method: "POST", headers: json, body: "{}" }],
      ];
      for (const [where, init] of attempts) {
        const answer = await fetch(base + where, init);
        seen.push([...answer.headers].join(), await answer.text());
      }
    }
  }

  async function noteSigningKeys(ring: KeyRing): Promise<void> {
    const rows = await postgres.sql("select kid, algorithm, encode(sealed, 'hex'), seal_version from signing_keys");
    for (const row of rows.split("\n")) {
      const [kid, algorithm, sealed, sealVersion] = row.split("|") as [string, "EdDSA", string, string];
      const kept = { kid, algorithm, sealed: Buffer.from(sealed, "hex"), sealVersion: Number(sealVersion) };
      const opened = await unsealSigningKey(ring, kept);
      if (typeof opened === "string") throw new Error(opened);
      const { d } = opened.privateKey.export({ format: "jwk" });
      secrets.push({ what: `signing key ${kid}`, bytes: Buffer.from(d!, "base64url") });
    }
  }

  /** Everything that was written, by the name of its place. */
  async function sinks(): Promise<Record<string, Buffer>> {
    const metrics = await Promise.all(
      processes.map(async ({ opsAddress }) => (await fetch(`http://${opsAddress}/metrics`)).text()),
    );
    const events: string[] = [];
    const operator = clientAt(processes[0]!.address, AdminService, admin);
    for (let pageToken = ""; ; ) {
      const page = await operator.listAuditEvents({ pageSize: 250, pageToken });
      events.push(
        ...page.events.map((event) =>
          JSON.stringify(event, (_, value) => (typeof value === "bigint" ? `${value}` : value)),
        ),
      );
      pageToken = page.nextPageToken;
      if (pageToken === "") break;
    }
    const folder = join(await postgres.sql("show data_directory"), "..");
    return {
      "log in JSON": Buffer.from(processes[0]!.output()),
      "log as text": Buffer.from(processes[1]!.output()),
      "errors and answers": Buffer.from(seen.join("\n"), "latin1"),
      metrics: Buffer.from(metrics.join("\n")),
      "audit events": Buffer.from(events.join("\n")),
      PostgreSQL: await databaseDump(),
      "PostgreSQL's log": readFileSync(join(folder, "postgres.log")),
      Redis: await redisDump(),
      "commands to Redis": Buffer.from(commands.join("\n"), "latin1"),
    };
  }

  async function databaseDump(): Promise<Buffer> {
    const names = await postgres.sql("select table_name from information_schema.tables where table_schema = 'public'");
    const tables = names.split("\n");
    expect(tables).toEqual(expect.arrayContaining(["users", "sessions", "api_keys", "key_secrets", "audit_events"]));
    const dumps = await Promise.all(tables.map((table) => postgres.sql(`copy "${table}" to stdout`)));
    // COPY doubles the backslash of a byte string.
    return Buffer.from(dumps.join("\n").replaceAll("\\\\x", "\\x"));
  }

  async function redisDump(): Promise<Buffer> {
    const parts: Buffer[] = [];
    for (const key of await store.keysBuffer("*")) {
      const kind = await store.type(key);
      const read = { hash: "hgetall", string: "get", list: "lrange", set: "smembers", zset: "zrange" }[kind];
      const range = kind === "list" || kind === "zset" ? [0, -1] : [];
      parts.push(key, await store.dumpBuffer(key), Buffer.from(JSON.stringify(await store.call(read!, key, ...range))));
    }
    return Buffer.concat(parts);
  }

  const inSink = (findings: readonly Finding[], sink: string) => findings.filter((finding) => finding.sink === sink);

  it("come from every RPC", () => {
    const all = SERVICES.flatMap((service) => service.methods.map((each) => `${service.typeName}.${each.localName}`));
    expect(all.filter((name) => !called.has(name))).toEqual([]);
    expect(secrets.length).toBeGreaterThan(50);
    expect(new Set(secrets.map(({ bytes }) => bytes.toString("hex"))).size).toBe(secrets.length);
  });

  it("are in no log, answer, metric or audit event, and not in PostgreSQL, its log, Redis or the commands to Redis", async () => {
    const written = await sinks();
    // Each place has text: no place is clean because it is empty.
    for (const [sink, bytes] of Object.entries(written)) expect(bytes.length, sink).toBeGreaterThan(1000);
    expect(written.PostgreSQL!.toString()).toContain("kit_live_");
    expect(written["PostgreSQL's log"]!.toString()).toContain("insert into sessions");
    expect(written["commands to Redis"]!.toString().toLowerCase()).toContain("evalsha");
    expect(findSecrets(secrets, written)).toEqual([]);
    process.stderr.write(
      `      ${secrets.length} secrets, ${Object.entries(written)
        .map(([sink, { length }]) => `${sink} ${Math.round(length / 1024)} KiB`)
        .join(", ")}\n`,
    );
  });

  it("are found in each place and each form in which they are planted: the control", async () => {
    const [secret] = secrets.filter(({ what }) => what === "first password");
    const { bytes } = secret!;
    const forms: Record<string, string> = {
      plain: bytes.toString(),
      hex: `id ${bytes.toString("hex")}`,
      base64: Buffer.from(`user:${bytes}`).toString("base64"),
      url: encodeURIComponent(bytes.toString()),
      "in lower case": bytes.toString().toLowerCase(),
    };
    for (const [form, text] of Object.entries(forms)) {
      const findings = findSecrets(secrets, { a: Buffer.from(`.. ${text} ..`) });
      expect(new Set(findings.map(({ what }) => what)), form).toEqual(new Set(["first password"]));
    }
    const hashOf = createHash("sha256").update(bytes).digest("hex");
    expect(findSecrets(secrets, { a: Buffer.from(hashOf) })).toEqual([]);

    await postgres.sql(
      `update audit_events set details = '{"note": "${bytes.toString("base64url")}"}' where id = (select max(id) from audit_events);
       update password_resets set token_digest = decode('${bytes.subarray(0, 32).toString("hex")}', 'hex')
         where ctid = (select max(ctid) from password_resets)`,
    );
    await store.hset("planted", "field", `value ${bytes.toString("hex")}`);
    const planted = findSecrets(secrets, await sinks());
    for (const sink of ["PostgreSQL", "PostgreSQL's log", "audit events", "Redis", "commands to Redis"]) {
      expect(inSink(planted, sink), sink).not.toEqual([]);
    }
    expect(planted.filter(({ form }) => form === "plain").map(({ sink }) => sink)).toContain("PostgreSQL");
  });

  it("are found in the log of a service that logs credentials: the control", async () => {
    await using mutant = await startService(env, withFault(LOGS_CREDENTIALS));
    await ending(clientAt(mutant.address, AdminService, admin).listUsers({}));
    await expect.poll(() => findSecrets(secrets, { log: Buffer.from(mutant.output()) })).not.toEqual([]);
  });
});

/** Requests of a method with this text in one field each, and nothing else. */
function requestsWith(method: DescMethod, text: string): object[] {
  return withTextIn(method.input, text, 2);
}

function withTextIn(message: DescMessage, text: string, depth: number): object[] {
  return message.fields.flatMap((field): object[] => {
    const place = (value: unknown) =>
      field.oneof === undefined
        ? { [field.localName]: value }
        : { [field.oneof.localName]: { case: field.localName, value } };
    if (field.fieldKind === "scalar" && field.scalar === ScalarType.STRING) return [place(text)];
    if (field.fieldKind === "list" && field.listKind === "scalar" && field.scalar === ScalarType.STRING)
      return [place([text])];
    if (depth === 0) return [];
    if (field.fieldKind === "message") return withTextIn(field.message, text, depth - 1).map(place);
    if (field.fieldKind !== "list" || field.listKind !== "message") return [];
    return withTextIn(field.message, text, depth - 1).map((each) => place([each]));
  });
}
