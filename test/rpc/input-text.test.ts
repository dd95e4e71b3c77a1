import { request as httpRequest } from "node:http";
import { type Client, Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { KeyService, Verdict } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { checksum62 } from "../../src/lib/base62.ts";
import { errorOf } from "../support/errors.ts";
import { PASSWORD, type Person, startTestService, type TestService } from "../support/in-process-service.ts";
import { SPEAKS_REST } from "../support/lane.ts";
import { bearer, postJson } from "../support/post-json.ts";

/** Part of every text here that must not reach the log. */
const CANARY = "canary";
const STRONG = `${CANARY} ochre lantern waltz`;
const UNKNOWN = "AAAAAAAAAAAAAAAA";
const NOT_IDS = ["", "nonsense", `key_\0${UNKNOWN.slice(1)}`, "' or 1=1 --", CANARY.repeat(8000)];

let service: TestService;
let admin: Client<typeof AdminService>;
let verifier: Client<typeof KeyService>;
let person: Person;
beforeAll(async () => {
  service = await startTestService();
  admin = service.client(AdminService, service.admin);
  verifier = service.client(KeyService, await service.newCredential("verify"));
  person = await service.newPerson();
});
afterAll(() => service?.[Symbol.asyncDispose]());

const issue = (body: string) =>
  postJson(service.address, "KeyService/IssueKey", body, bearer(person.tokens.accessToken));

describe("text", () => {
  it("with NUL is refused in every field for free text, with the name of the field", async () => {
    const { key } = await person.keys.issueKey({ name: "text" });
    const nul = `${CANARY}\0`;
    const update = (field: object, path: string) =>
      person.keys.updateKey({ key: { id: key!.id, ...field }, updateMask: { paths: [path] } });
    const calls: [string, () => Promise<unknown>][] = [
      [
        "user.display_name",
        () => person.auth.updateCurrentUser({ user: { displayName: nul }, updateMask: mask("display_name") }),
      ],
      ["new_password", () => person.auth.changePassword({ currentPassword: PASSWORD, newPassword: STRONG + nul })],
      ["current_password", () => person.auth.changePassword({ currentPassword: nul, newPassword: STRONG })],
      ["page_token", () => person.auth.listSessions({ pageToken: nul })],
      ["key.name", () => update({ name: nul }, "name")],
      ["key.description", () => update({ description: nul }, "description")],
      ["key.scopes[0]", () => update({ scopes: [nul] }, "scopes")],
      ["key.allowed_ips[0]", () => update({ allowedIps: ["192.0.2.1\0"] }, "allowed_ips")],
      ["key.allowed_methods[0]", () => update({ allowedMethods: [nul] }, "allowed_methods")],
      ["key.metadata", () => update({ metadata: { [nul]: "a" } }, "metadata")],
      ['key.metadata["a"]', () => update({ metadata: { a: nul } }, "metadata")],
      ["request_id", () => person.keys.rotateKey({ keyId: key!.id, requestId: nul })],
      ["reason", () => person.keys.revokeKey({ keyId: key!.id, reason: nul })],
      ["client_ip", () => verifier.verifyKey({ clientIp: "192.0.2.1\0" })],
      ["limits[0].name", () => verifier.verifyKey({ limits: [{ name: nul }] })],
      [
        "name",
        () => verifier.checkRateLimit({ subject: { case: "name", value: nul }, limits: [{ name: "a", perDay: 1 }] }),
      ],
      ["email", () => admin.createUser({ email: `${nul}@example.com` })],
      ["display_name", () => admin.createUser({ email: "nul@example.com", displayName: nul })],
      ["scopes[0]", () => admin.createUser({ email: "nul@example.com", scopes: [nul] })],
      ["tier", () => admin.createUser({ email: "nul@example.com", tier: nul })],
      ["email", () => admin.listUsers({ email: nul })],
      ["name", () => admin.issueServiceCredential({ name: nul, scopes: ["verify"] })],
      ["scopes", () => admin.issueServiceCredential({ name: "nul", scopes: [nul] })],
    ];
    for (const [field, call] of calls) {
      expect(await errorOf(call())).toMatchObject({ code: Code.InvalidArgument, fields: [field] });
    }
  });

  it("with a lone surrogate in JSON is refused, in a name and in a value", async () => {
    for (const body of [
      '{"name":"\\ud800"}',
      '{"name":"k","metadata":{"a":"\\udc00"}}',
      '{"name":"k","metadata":{"\\ud800":"a"}}',
      '{"name":"k","scopes":["\\ud800"]}',
    ]) {
      const { status, error } = await issue(body);
      expect([status, error?.code]).toEqual([400, "invalid_argument"]);
    }
  });
});

describe("JSON", () => {
  it.each([
    ["a field twice", '{"name":"canary","name":"canary"}'],
    ["a field under both of its names", '{"name":"canary","requestId":"","request_id":""}'],
    ["a number for text", '{"name":5}'],
    ["an object in a map of texts", '{"name":"canary","metadata":{"__proto__":{"admin":true}}}'],
    ["an int32 too large", '{"name":"canary","limits":{"perMinute":2147483648}}'],
    ["a fraction for an int32", '{"name":"canary","limits":{"perMinute":0.5}}'],
    ["Infinity", '{"name":"canary","limits":{"perMinute":"Infinity"}}'],
    ["a time beyond the year 9999", '{"name":"canary","expireTime":"10000-01-01T00:00:00Z"}'],
    ["a word for a time", '{"name":"canary","expireTime":"tomorrow"}'],
    ["an unknown field", '{"name":"a","canary":1}'],
    ["an unknown field of a nested message", '{"name":"a","limits":{"canary":1}}'],
    ["the name of an inherited property", '{"name":"a","__proto__":{"ownerId":"canary"}}'],
    ["a list", "[]"],
    ["null", "null"],
    ["nothing", ""],
    ["a second value", '{"name":"canary"} {}'],
  ])("with %s is refused, and the error repeats nothing of it", async (_what, body) => {
    const { status, text, error } = await issue(body);
    expect([status, error?.code]).toEqual([400, "invalid_argument"]);
    expect(text).not.toContain(CANARY);
  });

  it("with a misspelt field is refused with the name of its message, so `requiredScope` checks nothing silently", async () => {
    const body = '{"apiKey":"junk","requiredScope":["orders:read"]}';
    const verify = (text: string) => postJson(service.address, "KeyService/VerifyKey", text, bearer(service.admin));
    const { status, error } = await verify(body);
    expect(status).toBe(400);
    expect(error?.message).toBe(
      "the request has a field that latchkey.v1.VerifyKeyRequest does not define; check the names of its fields",
    );
    const snakes = '{"api_key":"junk","required_scopes":["orders:read"]}';
    expect((await verify(snakes)).status).toBe(200);
  });

  it("with names of inherited properties changes nothing except the metadata", async () => {
    const metadata = '{"__proto__":"a","constructor":"b","toString":"c"}';
    const { text } = await issue(`{"name":"k","metadata":${metadata}}`);
    const { id } = JSON.parse(text).key;
    const kept = await postJson(
      service.address,
      "KeyService/GetKey",
      JSON.stringify({ keyId: id }),
      bearer(person.tokens.accessToken),
    );
    expect(kept.text).toContain(`"ownerId":"${person.user.id}"`);
    expect(Object.entries(JSON.parse(kept.text).key.metadata).sort()).toEqual(
      Object.entries(JSON.parse(metadata)).sort(),
    );
  });
});

describe("ids", () => {
  it("that do not exist, or cannot exist, are NOT_FOUND in every RPC", async () => {
    const session = await service.newPerson();
    const sessionId = (await session.auth.listSessions({})).sessions[0]!.id;
    for (const id of NOT_IDS) {
      const calls: [string, () => Promise<unknown>][] = [
        ["SESSION_NOT_FOUND", () => person.auth.revokeSession({ sessionId: id })],
        ["USER_NOT_FOUND", () => admin.getUser({ userId: id })],
        ["USER_NOT_FOUND", () => admin.disableUser({ userId: id })],
        ["USER_NOT_FOUND", () => admin.enableUser({ userId: id })],
        ["SERVICE_CREDENTIAL_NOT_FOUND", () => admin.rotateServiceCredential({ credentialId: id })],
        ["SERVICE_CREDENTIAL_NOT_FOUND", () => admin.revokeServiceCredential({ credentialId: id })],
        ["KEY_NOT_FOUND", () => verifier.checkRateLimit({ subject: { case: "keyId", value: id } })],
      ];
      for (const [reason, call] of calls) expect(await errorOf(call())).toMatchObject({ code: Code.NotFound, reason });
    }
    const foreign = await errorOf(person.auth.revokeSession({ sessionId }));
    expect(await errorOf(person.auth.revokeSession({ sessionId: `ses_${UNKNOWN}` }))).toEqual(foreign);
  });

  it("of another user's key and unknown ids receive the same bytes from an update", async () => {
    const { key } = await service.newKey();
    const answers = new Set<string>();
    const codes = new Set<string | undefined>();
    const credential = bearer(person.tokens.accessToken);
    // A path of REST has at most 1,024 characters.
    const impossible = NOT_IDS.slice(1).filter((id) => !SPEAKS_REST || id.length < 1000);
    for (const id of [key!.id, `key_${UNKNOWN}`, ...impossible]) {
      const body = JSON.stringify({ key: { id, name: "x" }, updateMask: "name" });
      const { text, error } = await postJson(service.address, "KeyService/UpdateKey", body, credential);
      answers.add(text);
      codes.add(error?.code);
    }
    expect([answers.size, ...codes]).toEqual([1, "not_found"]);
  });

  it("of a service credential are refused as a subject of CheckRateLimit", async () => {
    const { credentials } = await admin.listServiceCredentials({ pageSize: 1 });
    const subject = { case: "keyId" as const, value: credentials[0]!.id.replace("svc_", "key_") };
    expect(await errorOf(verifier.checkRateLimit({ subject }))).toMatchObject({ reason: "KEY_NOT_FOUND" });
  });
});

describe("VerifyKey", () => {
  it("answers INVALID for the right id with a wrong secret and a good checksum, also while the key is in memory", async () => {
    const { apiKey } = await service.newKey();
    const front = apiKey.slice(0, -7);
    const wrong = front + (apiKey.at(-7) === "A" ? "B" : "A");
    const forged = wrong + checksum62(wrong);
    for (const known of [false, true]) {
      if (known) expect((await verifier.verifyKey({ apiKey })).valid).toBe(true);
      const answer = await verifier.verifyKey({ apiKey: forged });
      expect(answer).toMatchObject({ valid: false, verdict: Verdict.INVALID, rateLimits: [] });
      expect(answer.key).toBeUndefined();
    }
    expect((await verifier.verifyKey({ apiKey })).rateLimits[0]?.remaining).toBe(18);
  });

  it("answers INVALID for each other kind of token that the service issues", async () => {
    const { accessToken, refreshToken } = person.tokens;
    for (const apiKey of [accessToken, refreshToken, service.admin]) {
      expect((await verifier.verifyKey({ apiKey })).verdict).toBe(Verdict.INVALID);
    }
  });
});

describe("calls at the same moment", () => {
  it("issue one key, and rotate it once, for ten calls with one request_id", async () => {
    const ten = async (call: () => Promise<unknown>) => {
      const outcomes = await Promise.allSettled(Array.from({ length: 10 }, call));
      return outcomes
        .map((outcome) => (outcome.status === "fulfilled" ? 0 : ConnectError.from(outcome.reason).code))
        .sort();
    };
    const once = [0, ...Array(9).fill(Code.AlreadyExists)];
    const requestId = crypto.randomUUID();
    expect(await ten(() => person.keys.issueKey({ name: "once", requestId }))).toEqual(once);
    const { key } = await person.keys.issueKey({ name: "turned" });
    const rotation = { keyId: key!.id, requestId: crypto.randomUUID() };
    expect(await ten(() => person.keys.rotateKey(rotation))).toEqual(once);
  });

  it("make one of ten updates with the same etag", async () => {
    const { key } = await person.keys.issueKey({ name: "raced" });
    const calls = Array.from({ length: 10 }, (_, n) =>
      person.keys.updateKey({ key: { id: key!.id, etag: key!.etag, name: `n${n}` }, updateMask: mask("name") }),
    );
    const made = (await Promise.allSettled(calls)).filter(({ status }) => status === "fulfilled");
    expect(made).toHaveLength(1);
  });
});

it("every list refuses page tokens of another list, and sizes below 0", async () => {
  for (let n = 0; n < 2; n++) await person.keys.issueKey({ name: "listed" });
  const { nextPageToken: pageToken } = await person.keys.listKeys({ pageSize: 1 });
  expect(pageToken).not.toBe("");
  const manager = service.client(KeyService, service.admin);
  type List = (request: { pageSize?: number; pageToken?: string }) => Promise<unknown>;
  const lists: List[] = [
    (request) => person.auth.listSessions(request),
    (request) => admin.listUsers(request),
    (request) => admin.listServiceCredentials(request),
    (request) => manager.listKeys(request),
  ];
  for (const list of lists) {
    expect((await errorOf(list({ pageToken }))).fields).toEqual(["page_token"]);
    expect((await errorOf(list({ pageSize: -1 }))).fields).toEqual(["page_size"]);
  }
});

it("the service refuses two authorization lines over HTTP/1.1, even if each is valid", async () => {
  const status = (authorization: string[]) =>
    new Promise<number | undefined>((resolve, reject) => {
      const headers = { "content-type": "application/json", authorization };
      const url = `http://${service.address}/latchkey.v1.AuthService/GetCurrentUser`;
      const call = httpRequest(url, { method: "POST", headers: headers as never }, (response) => {
        response.resume().on("end", () => resolve(response.statusCode));
      });
      call.on("error", reject).end("{}");
    });
  const bearer = `Bearer ${person.tokens.accessToken}`;
  expect([await status([bearer]), await status([bearer, bearer])]).toEqual([200, 401]);
});

it("none of this caused an internal error, and none of the texts reached the log", () => {
  expect(service.lines.filter(({ level }) => level === "error")).toEqual([]);
  expect(JSON.stringify(service.lines)).not.toContain(CANARY);
});

function mask(...paths: string[]) {
  return { paths };
}
