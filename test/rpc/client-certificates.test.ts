/** Client certificates that stand for service credentials, through real TLS connections. */
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { type ClientHttp2Session, connect } from "node:http2";
import { request as httpsRequest } from "node:https";
import { join } from "node:path";
import { connect as connectTls, type SecureContextOptions, setDefaultCACertificates } from "node:tls";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type Client, Code, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { credentials, Client as GrpcClient } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createLatchkey } from "../../client/src/latchkey.ts";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { type Authority, type Identity, newAuthority } from "../support/certificate-authority.ts";
import { privateFolder } from "../support/child-process.ts";
import { der, sequence } from "../support/der.ts";
import { errorOf } from "../support/errors.ts";
import { grpcTrailers } from "../support/front-door.ts";
import { hostileChain } from "../support/hostile-chain.ts";
import { startTestService, type TestService } from "../support/in-process-service.ts";
import { eventually, until } from "../support/until.ts";

const folder = privateFolder("latchkey-client-certificates-");
const caFile = join(folder, "clients.pem");
let service: TestService;
let admin: Client<typeof AdminService>;
let [ours, next, strange, servers]: Authority[] = [];
const sessions: ClientHttp2Session[] = [];

beforeAll(async () => {
  [ours, next, strange, servers] = ["ours", "next", "strange", "servers"].map((name) => newAuthority(name));
  const server = servers!.issue("localhost", ["DNS:localhost", "IP:127.0.0.1"]);
  copyFileSync(ours!.certFile, caFile);
  service = await startTestService({
    LATCHKEY_TLS_CERT_FILE: server.certFile,
    LATCHKEY_TLS_KEY_FILE: server.keyFile,
    LATCHKEY_TLS_CLIENT_CA_FILE: caFile,
  });
  admin = service.client(AdminService, service.admin);
});
afterAll(async () => {
  for (const session of sessions) session.destroy();
  await service?.[Symbol.asyncDispose]();
});

/** An HTTP/2 connection with TLS, and with a certificate of the client if one is given. */
function connectWith(identity?: SecureContextOptions): ClientHttp2Session {
  const session = connect(`https://${service.address}`, { rejectUnauthorized: false, ...identity });
  session.on("error", () => {});
  sessions.push(session);
  return session;
}

/** The gRPC status, the reason's text and the path of a call on a connection. */
async function call(
  session: ClientHttp2Session,
  headers: Readonly<Record<string, string>> = {},
  method = "KeyService/VerifyKey",
): Promise<{ code: number; message: string }> {
  const stream = session.request({
    ":method": "POST",
    ":path": method.startsWith("/") ? method : `/latchkey.v1.${method}`,
    "content-type": "application/grpc",
    ...headers,
  });
  stream.end(Buffer.alloc(5));
  stream.resume();
  const trailers = await grpcTrailers(stream);
  return { code: Number(trailers["grpc-status"]), message: decodeURIComponent(String(trailers["grpc-message"] ?? "")) };
}

/** The same on a new connection with this certificate. */
const callWith = (identity: SecureContextOptions, headers = {}) => call(connectWith(identity), headers);

const refused = (message: RegExp) => ({
  code: Code.Unauthenticated as number,
  message: expect.stringMatching(message) as unknown as string,
});
/** Makes the service read its files again, and waits for the line that tells of it. */
async function reload(line: RegExp): Promise<void> {
  const known = service.lines.length;
  service.reload();
  await until(() => service.lines.slice(known).some(({ message }) => line.test(message)), String(line));
}

const OK = { code: 0, message: "" };

let count = 0;
/** A new credential with a name of its own, and the certificate with this name. */
async function orders(more: object = {}, authority: Authority = ours!) {
  const name = `orders-${++count}.internal`;
  const request = { name: "orders", scopes: ["verify"], certificateNames: [name], ...more };
  const { credential, secret } = await admin.issueServiceCredential(request);
  return { credential: credential!, id: credential!.id, secret, name, identity: authority.issue("x", [`DNS:${name}`]) };
}

describe("a certificate whose subjectAltName has a name of a credential", () => {
  it("stands for the credential, by DNS name and by URI, on every protocol", async () => {
    const uri = "spiffe://example.org/ns/prod/sa/orders";
    const { identity, name, id } = await orders({ certificateNames: ["Orders.Internal", uri] });
    expect(name).toBe("orders-1.internal");
    const { credentials } = await admin.listServiceCredentials({});
    expect(credentials.find((one) => one.id === id)?.certificateNames).toEqual(["orders.internal", uri]);
    expect(await callWith(identity)).toEqual(refused(/no service credential has a name/));
    const [byDns, byUri] = [ours!.issue("x", ["DNS:ORDERS.internal"]), ours!.issue("x", [`URI:${uri}`])];
    for (const one of [byDns, byUri]) expect(await callWith(one)).toEqual(OK);

    // The unary lane is not for calls with an `origin`, compression or streams; JSON goes by Connect and REST.
    const session = connectWith(byUri);
    expect(await call(session, { "grpc-encoding": "gzip" })).toEqual(OK);
    for (const path of ["/latchkey.v1.KeyService/VerifyKey", "/v1/keys:verify"]) {
      expect(await postHttp1(byUri, path)).toMatchObject({ status: 200 });
    }
    expect(await postHttp1({}, "/v1/keys:verify")).toMatchObject({ status: 401 });
    expect(await call(session, {}, "/envoy.service.auth.v3.Authorization/Check")).toEqual(OK);
  });

  it("is shown by the clients of connect-node, grpc-js and this project", async () => {
    const { identity } = await orders();
    const [host, port] = service.address.split(":");
    const baseUrl = `https://${host}:${port}`;
    const nodeOptions = { ca: servers!.cert, cert: identity.cert, key: identity.key };
    const connectNode = createClient(KeyService, createGrpcTransport({ baseUrl, nodeOptions }));
    expect(await connectNode.verifyKey({ apiKey: "junk" })).toMatchObject({ valid: false });

    const [ca, key, cert] = [servers!.cert, identity.key, identity.cert].map((pem) => Buffer.from(pem));
    const js = new GrpcClient(service.address, credentials.createSsl(ca!, key!, cert!), {
      // grpc-js sends its target as the server name, which Node 26 refuses for an address.
      "grpc.ssl_target_name_override": "localhost",
    });
    const [path, asIs] = ["/latchkey.v1.KeyService/VerifyKey", (bytes: Buffer) => bytes];
    const answer = await new Promise<unknown>((resolve) => {
      js.makeUnaryRequest(path, asIs, asIs, Buffer.alloc(0), (error, bytes) => resolve(error ?? bytes));
    });
    js.close();
    expect(answer).toBeInstanceOf(Buffer);

    const source = () => ({ cert: identity.cert, key: identity.key });
    setDefaultCACertificates([servers!.cert]);
    await using near = createLatchkey({ baseUrl, clientCertificate: source, accessTokens: false, near: true });
    await near.ready();
    expect(await near.verify({ apiKey: "junk" })).toMatchObject({ valid: false });
    expect(() => createLatchkey({ baseUrl: "http://a", clientCertificate: source })).toThrow(/https/);
  });

  it("is made by the lines of docs/OPERATIONS.md", async () => {
    const page = readFileSync(join(import.meta.dirname, "../../docs/OPERATIONS.md"), "utf8");
    const [, lines] = /## Client certificates[\s\S]*?```sh\n([\s\S]*?)```/.exec(page)!;
    const made = privateFolder("latchkey-documented-");
    execFileSync("sh", ["-e"], { cwd: made, input: lines, stdio: ["pipe", "ignore", "ignore"] });
    const read = (name: string) => readFileSync(join(made, name), "utf8");
    writeFileSync(caFile, ours!.cert + read("client-authorities.pem"));
    await reload(/client authorities are replaced/);
    expect(await callWith({ cert: read("orders.pem"), key: read("orders.key") })).toEqual(OK);
    copyFileSync(ours!.certFile, caFile);
    await reload(/client authorities are replaced/);
  });

  it("has the scopes of the credential, counts as its use, and is its actor on the audit trail", async () => {
    const { identity, id } = await orders({ scopes: ["admin"] });
    const session = connectWith(identity);
    expect(await call(session, {}, "AdminService/ListUsers")).toEqual(OK);
    const { identity: verifier } = await orders();
    expect(await call(connectWith(verifier), {}, "AdminService/ListUsers")).toMatchObject({
      code: Code.PermissionDenied,
    });
    expect(await call(session, {}, "AdminService/CreateUser")).toMatchObject({ code: Code.InvalidArgument });
    expect(await call(session, {}, "AdminService/RotateSigningKey")).toEqual(OK);
    const { events } = await admin.listAuditEvents({ actorId: id });
    expect(events.map(({ kind }) => kind)).toEqual(["signing_key.created"]);
  });

  it("is not asked if the call has an authorization header, which is judged alone", async () => {
    const { identity, secret } = await orders();
    const session = connectWith(identity);
    expect(await call(session, { authorization: `Bearer ${secret}x` })).toMatchObject({ code: Code.Unauthenticated });
    expect(await call(session, { authorization: `Bearer ${service.admin}` }, "AdminService/ListUsers")).toEqual(OK);
    const person = await service.newPerson();
    const bearer = { authorization: `Bearer ${person.tokens.accessToken}` };
    expect(await call(session, bearer, "AuthService/GetCurrentUser")).toEqual(OK);
    expect(await call(session, bearer)).toMatchObject({ code: Code.PermissionDenied });
    expect(await call(session)).toEqual(OK);
  });

  it("never speaks for a web page, to whose requests a browser adds it unasked", async () => {
    const { identity } = await orders();
    const session = connectWith(identity);
    for (const [name, value] of [
      ["origin", "https://evil.example"],
      ["sec-fetch-site", "none"],
    ] as const) {
      expect(await call(session, { [name]: value })).toEqual(refused(/needs a credential/));
    }
    expect(await postHttp1(identity, "/v1/keys:verify", { origin: "null" })).toMatchObject({ status: 401 });
  });

  it("stops at the next call once its name is off the list, and its credential revoked or expired", async () => {
    const first = await orders();
    const session = connectWith(first.identity);
    expect(await call(session)).toEqual(OK);
    const off = { id: first.id, certificateNames: ["other.internal"] };
    await admin.updateServiceCredential({ credential: off, updateMask: { paths: ["certificate_names"] } });
    expect(await call(session)).toEqual(refused(/no service credential has a name/));
    await admin.updateServiceCredential({ credential: { id: first.id, certificateNames: [first.name] } });
    expect(await call(session)).toEqual(OK);
    await admin.revokeServiceCredential({ credentialId: first.id });
    expect(await call(session)).toEqual(refused(/not valid/));

    const expireTime = timestampFromMs(service.clock.nowMs() + 5000);
    const second = await orders({ expireTime });
    const other = connectWith(second.identity);
    expect(await call(other)).toEqual(OK);
    service.clock.advance(6000);
    expect(await call(other)).toEqual(refused(/not valid/));
    await eventually(async () => {
      const { events } = await admin.listAuditEvents({ subjectId: second.id });
      expect(events.map(({ kind }) => kind)).toEqual(["credential.refused", "credential.issued"]);
    });
    // The name of an ended credential is free for another one, which every connection learns.
    const { credential } = await admin.issueServiceCredential({
      ...{ name: "successor", scopes: ["verify"] },
      certificateNames: [second.name],
    });
    expect(await call(other)).toEqual(OK);
    expect(credential!.certificateNames).toEqual([second.name]);
  });

  it("is refused with the names of two credentials", async () => {
    const [one, two] = [await orders(), await orders()];
    const both = ours!.issue("x", [`DNS:${one.name}`, `DNS:${two.name}`]);
    const session = connectWith(both);
    expect(await call(session)).toEqual(refused(/names of two service credentials/));
    await admin.revokeServiceCredential({ credentialId: one.id });
    expect(await call(session)).toEqual(OK);
  });
});

/** The names of a subjectAltName in DER, with texts of any kind. */
type Name = readonly [tag: number, text: string | Buffer];
const rawNames = (...names: readonly Name[]) =>
  sequence(...names.map(([tag, text]) => der(tag, Buffer.from(text as string, "latin1"))));
const years = (year: number) => [new Date(`${year}-01-01T00:00:00Z`), new Date(`${year + 1}-01-01T00:00:00Z`)] as const;
const [MAIL, DNS, URI, IP] = [0x81, 0x82, 0x86, 0x87] as const;

describe("a certificate stands for no credential", () => {
  const NAME = "target.internal";
  const ID = "spiffe://example.org/target";
  beforeAll(async () => {
    await admin.issueServiceCredential({ name: "t", scopes: ["admin"], certificateNames: [NAME, ID, "127.0.0.1.nip"] });
  });

  const issue = (...names: string[]) => ours!.issue("client", names);
  const issueRaw = (...names: Name[]) => ours!.issue("client", rawNames(...names));
  it.each<[what: string, fault: RegExp, make: () => Identity]>([
    ["its name is only the common name", /neither a DNS name nor a URI/, () => ours!.issue(NAME)],
    ["its name is a wildcard", /neither a DNS/, () => issue("DNS:*.internal")],
    ["its name is below the one on the list", /no service credential/, () => issue(`DNS:a.${NAME}`)],
    ["its name has a dot at the end", /neither a DNS/, () => issueRaw([DNS, `${NAME}.`])],
    ["its name ends at a NUL", /neither a DNS/, () => issueRaw([DNS, `${NAME}\0.evil.example`])],
    ["its name is an address of e-mail", /neither a DNS/, () => issueRaw([MAIL, NAME])],
    ["its name is an IP address", /neither a DNS/, () => issueRaw([IP, Buffer.from([127, 0, 0, 1])])],
    ["a comma hides a name", /neither a DNS/, () => issueRaw([DNS, `evil.example, DNS:${NAME}`])],
    ["a comma hides a URI", /neither a DNS/, () => issueRaw([DNS, `evil.example, URI:${ID}`])],
    ["quotes hide a URI", /no service/, () => issueRaw([URI, `spiffe://evil/a", URI:"${ID}`], [DNS, "b.c"])],
    ["a URI is written as a DNS name", /neither a DNS/, () => issueRaw([DNS, ID])],
    ["a DNS name is written as a URI", /neither a DNS/, () => issueRaw([URI, NAME])],
    ["the URI has another case", /no service/, () => issue(`URI:${ID.replace("target", "Target")}`)],
    ["it has 33 names", /more than 32 names/, () => issue(...Array.from({ length: 33 }, (_, n) => `DNS:n${n}.a`))],
    ["a stranger signed it", /no client authority/, () => strange!.issue("x", [`DNS:${NAME}`])],
    ["it is self-signed", /no client authority|not for clients/, () => newAuthority(NAME)],
    ["it is for servers", /not for clients/, () => ours!.issue("x", [`DNS:${NAME}`], { isForServers: true })],
    ["it has expired", /has expired/, () => ours!.issue("x", [`DNS:${NAME}`], { between: years(2020) })],
    ["it is not valid yet", /not valid yet/, () => ours!.issue("x", [`DNS:${NAME}`], { between: years(2090) })],
  ])("if %s, and a bearer credential still works on its connection", async (_what, fault, make) => {
    const session = connectWith(make());
    expect(await call(session)).toEqual(refused(fault));
    expect(await call(session, { authorization: `Bearer ${service.admin}` })).toEqual(OK);
  });

  it("if a proxy hands it on in a header, because headers can be made up", async () => {
    const session = connect(`http://${service.address}`);
    sessions.push(session);
    const cert = encodeURIComponent(issue(`DNS:${NAME}`).cert);
    for (const one of [session, connectWith()]) {
      const headers = { "x-forwarded-client-cert": `URI=${ID};DNS=${NAME};Cert="${cert}"`, "client-cert": cert };
      expect(await call(one, { ...headers, "x-ssl-client-cert": cert })).toEqual(refused(/needs a credential/));
    }
  });

  it("if it is shown without the intermediate authority that signed it, and stands for one with it", async () => {
    const middle = newAuthority("middle", ours!);
    const { name } = await orders();
    const leaf = middle.issue("x", [`DNS:${name}`]);
    expect(await callWith(leaf)).toEqual(refused(/no client authority/));
    expect(await callWith({ ...leaf, cert: leaf.cert + middle.cert })).toEqual(OK);
  });
});

describe("a handshake", () => {
  it.each([
    ["21 issuers whose signatures cost the most to check", () => hostileChain(21)],
    ["three of them", () => hostileChain(3)],
    ["1,000 names", () => ours!.issue("x", rawNames(...Array<Name>(1000).fill([DNS, "target.internal"])))],
  ])("ends its connection if the client shows %s, and others are served", async (_what, make) => {
    const session = connectWith(make());
    const closed = new Promise((resolve) => session.once("close", resolve));
    const answer = call(session, { authorization: `Bearer ${service.admin}` }, "AdminService/ListUsers").catch(String);
    await closed;
    expect(await Promise.race([answer, "no answer"])).not.toEqual(OK);
    expect(await call(connectWith(), { authorization: `Bearer ${service.admin}` })).toEqual(OK);
  });

  it("counts no byte of the calls that follow it immediately", async () => {
    const { identity } = await orders();
    const [host, port] = service.address.split(":") as [string, string];
    const socket = connectTls({ host, port: Number(port), rejectUnauthorized: false, ...identity });
    const body = JSON.stringify({ apiKey: "a".repeat(60_000) });
    const head = `POST /v1/keys:verify HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: `;
    socket.write(`${head}${body.length}\r\n\r\n${body}`);
    const [answer] = await once(socket, "data");
    socket.destroy();
    expect(String(answer)).toMatch(/^HTTP\/1.1 (200|400) /);
  });
});

describe("the time of a certificate", () => {
  it("is judged at each call, and its client is asked to connect again before it ends", async () => {
    const { identity } = await orders();
    const session = connectWith(identity);
    expect(await call(session)).toEqual(OK);
    const before = service.clock.shiftMs();
    // Certificates of these tests are valid for two days.
    service.clock.advance(2 * 86_400_000 - 3000 - before);
    await until(() => session.closed || session.destroyed, "the connection is asked to close");
    service.clock.advance(5000);
    const late = connectWith(identity);
    // OpenSSL goes by the time of the host, for which the certificate has not ended.
    expect(await call(late)).toEqual(refused(/has expired/));
    service.clock.advance(-(service.clock.shiftMs() - before));
  });
});

/** A validity that ends in a minute. */
const inAMinute = () => [new Date(Date.now() - 60_000), new Date(Date.now() + 60_000)] as const;

describe("the time of an authority", () => {
  it("is judged at each call, however many certificates come before an intermediate one", async () => {
    const middle = newAuthority("middle", ours!, { between: inAMinute() });
    const { name } = await orders();
    const leaf = middle.issue("x", [`DNS:${name}`]);
    const session = connectWith({ ...leaf, cert: leaf.cert + strange!.cert.repeat(12) + middle.cert });
    expect(await call(session)).toEqual(OK);
    service.clock.advance(61_000);
    expect(await call(session)).toEqual(refused(/has expired/));
    service.clock.advance(-61_000);
  });

  it("ends the right of its certificates, although no client has sent it", async () => {
    const short = newAuthority("short", undefined, { between: inAMinute() });
    const { identity } = await orders({}, short);
    writeFileSync(caFile, ours!.cert + short.cert);
    await reload(/client authorities are replaced/);
    const session = connectWith(identity);
    expect(await call(session)).toEqual(OK);
    const ended = call(session, {}, "KeyService/WatchRevocations");
    service.clock.advance(61_000);
    await until(() => session.closed || session.destroyed, "the connection is asked to close");
    const { key, person } = await service.newKey();
    await person.keys.revokeKey({ keyId: key!.id });
    expect(await ended).toEqual(refused(/before an authority was removed or ended/));
    service.clock.advance(-61_000);
    copyFileSync(ours!.certFile, caFile);
    await reload(/client authorities are replaced/);
  });
});

describe("the file of authorities", () => {
  it("takes the right from every certificate once it has no authority, and gives it back with one", async () => {
    const { identity } = await orders();
    const session = connectWith(identity);
    expect(await call(session)).toEqual(OK);
    writeFileSync(caFile, "# none\n");
    await reload(/client authorities are all removed/);
    await until(() => session.closed || session.destroyed, "the connection is asked to close");
    expect(await callWith(identity)).toEqual(refused(/needs a credential/));
    expect(await callWith(identity, { authorization: `Bearer ${service.admin}` })).toEqual(OK);
    copyFileSync(ours!.certFile, caFile);
    await reload(/client authorities are replaced/);
    expect(await callWith(identity)).toEqual(OK);
  });

  it("takes a new authority beside the old one, then lets the old one go, without a failed call of a good client", async () => {
    const old = await orders();
    const [kept, newer] = [connectWith(old.identity), next!.issue("x", [`DNS:${old.name}`])];
    const early = connectWith(newer);
    expect([await call(kept), await call(early)]).toEqual([OK, refused(/no client authority/)]);

    writeFileSync(caFile, ours!.cert + next!.cert);
    await reload(/client authorities are replaced/);
    expect([await call(kept), await callWith(newer)]).toEqual([OK, OK]);
    await until(() => early.closed || early.destroyed, "a client with an unknown certificate is asked to try again");
    const renewed = connectWith(newer);
    expect(await call(renewed)).toEqual(OK);

    copyFileSync(next!.certFile, caFile);
    await reload(/client authorities are replaced/);
    // The connection that has lost its right is closed without an error, and a new one is judged by the new list.
    await until(() => kept.closed || kept.destroyed, "the connection of the removed authority is asked to close");
    expect([await callWith(old.identity), await callWith(newer)]).toEqual([refused(/no client authority/), OK]);
    copyFileSync(ours!.certFile, caFile);
    await reload(/client authorities are replaced/);
    expect(await callWith(old.identity)).toEqual(OK);
  });

  it("ends a stream before its next message once the authority of its certificate is removed", async () => {
    const { identity } = await orders();
    const session = connectWith(identity);
    const ended = call(session, {}, "KeyService/WatchRevocations");
    const { key, person } = await service.newKey();
    writeFileSync(caFile, next!.cert);
    await reload(/client authorities are replaced/);
    await person.keys.revokeKey({ keyId: key!.id });
    expect(await ended).toEqual(refused(/before an authority was removed/));
    copyFileSync(ours!.certFile, caFile);
    await reload(/client authorities are replaced/);
  });

  it.each<[what: string, contents: () => string, reason: RegExp]>([
    ["an intermediate authority alone", () => newAuthority("middle", ours).cert, /1 is an intermediate authority/],
    ["half a certificate", () => ours!.cert.slice(0, 300), /alone/],
    ["a key", () => ours!.cert + ours!.key, /alone/],
    ["a certificate of a client", () => ours!.cert + ours!.issue("x", ["DNS:a.b"]).cert, /2 is no authority/],
    ["65 certificates", () => ours!.cert.repeat(65), /more than 64/],
  ])("stays as it was before it had %s", async (_what, contents, reason) => {
    const { identity } = await orders();
    writeFileSync(caFile, contents());
    await reload(/client authorities can't be replaced/);
    const told = service.lines.findLast(({ message }) => message.includes("client authorities can't"));
    expect(told?.fields).toMatchObject({ reason: expect.stringMatching(reason) });
    expect(await callWith(identity)).toEqual(OK);
    copyFileSync(ours!.certFile, caFile);
    await reload(/client authorities are unchanged/);
  });

  it("ends the resumption of sessions, which would bring a certificate that is not verified again", async () => {
    const { identity } = await orders();
    const [host, port] = service.address.split(":") as [string, string];
    const options = { host, port: Number(port), rejectUnauthorized: false, ...identity };
    for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const) {
      const first = connectTls({ ...options, maxVersion });
      const tickets: Buffer[] = [];
      first.on("session", (ticket) => tickets.push(ticket));
      await new Promise((resolve) => first.once("secureConnect", resolve));
      first.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
      await new Promise((resolve) => first.once("data", resolve));
      const session = tickets.at(-1) ?? first.getSession();
      first.destroy();
      const second = connectTls({ ...options, maxVersion, ...(session && { session }) });
      await new Promise((resolve) => second.once("secureConnect", resolve));
      expect(second.isSessionReused()).toBe(false);
      second.destroy();
    }
  });
});

describe("certificate names", () => {
  it.each([
    ["a wildcard", "*.internal"],
    ["a dot at the end", "orders.internal."],
    ["an empty label", "orders..internal"],
    ["a label that begins with a hyphen", "-orders.internal"],
    ["a label of 64 characters", `${"a".repeat(64)}.internal`],
    ["254 characters", `${"a.".repeat(126)}ab`],
    ["an IP address", "192.0.2.1"],
    ["an address of e-mail", "orders@internal"],
    ["a character that is not ASCII", "b\u00fccher.example"],
    ["a Kelvin sign", "\u212aiosk.internal"],
    ["a NUL", "orders\0.internal"],
    ["a space", "orders internal"],
    ["nothing", ""],
    ["a URI without an authority", "urn:orders"],
    ["a URI with a host in upper case", "spiffe://Example.org/orders"],
    ["a URI with a query", "spiffe://example.org/orders?a=b"],
    ["a URI of 256 bytes", `spiffe://example.org/${"a".repeat(235)}`],
  ])("are refused with %s", async (_what, name) => {
    const request = { name: "n", scopes: ["verify"], certificateNames: ["good.internal", name] };
    const error = await errorOf(admin.issueServiceCredential(request));
    expect(error).toMatchObject({ code: Code.InvalidArgument, fields: ["certificate_names[1]"] });
  });

  it("are at most 16, each once", async () => {
    const names = Array.from({ length: 17 }, (_, n) => `n${n}.bounds.internal`);
    const issue = (certificateNames: string[]) =>
      errorOf(admin.issueServiceCredential({ name: "n", scopes: ["verify"], certificateNames }));
    for (const wrong of [names, ["A.internal", "a.internal"]]) {
      expect(await issue(wrong)).toMatchObject({ code: Code.InvalidArgument, fields: ["certificate_names"] });
    }
    const credential = (await admin.issueServiceCredential({ name: "n", scopes: ["verify"] })).credential!;
    const update = (certificateNames: string[]) =>
      admin.updateServiceCredential({ credential: { id: credential.id, certificateNames } });
    expect((await update(names.slice(0, 16))).credential?.certificateNames).toHaveLength(16);
    expect(await errorOf(update(names))).toMatchObject({ fields: ["credential.certificate_names"] });
  });

  it("belong to one credential, and go to another one only when that has ended", async () => {
    const [one, two] = [await orders(), await orders()];
    const credential = { id: two.id, certificateNames: [two.name, one.name] };
    const taken = { code: Code.AlreadyExists, reason: "CERTIFICATE_NAME_TAKEN" };
    expect(await errorOf(admin.updateServiceCredential({ credential }))).toMatchObject({
      ...taken,
      metadata: { credential_id: one.id, certificate_name: one.name },
    });
    const third = { name: "n", scopes: ["verify"], certificateNames: [one.name] };
    expect(await errorOf(admin.issueServiceCredential(third))).toMatchObject(taken);
    await admin.revokeServiceCredential({ credentialId: one.id });
    expect((await admin.updateServiceCredential({ credential })).credential?.certificateNames).toEqual(
      [one.name, two.name].sort(),
    );
    // What ended can't take a name back.
    const back = { id: one.id, certificateNames: [one.name] };
    expect(await errorOf(admin.updateServiceCredential({ credential: back }))).toMatchObject({ reason: "KEY_ENDED" });
  });

  it("go to one of two operators who give one name to two credentials at the same time", async () => {
    const requests = Array.from({ length: 4 }, () => ({ name: "n", scopes: ["verify"], certificateNames: ["race.a"] }));
    const results = await Promise.allSettled(requests.map((request) => admin.issueServiceCredential(request)));
    expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  });

  it("change with the etag that was read, and on the audit trail with their values", async () => {
    const { credential, id, name } = await orders();
    const names = ["a.internal", name].sort();
    const changed = await admin.updateServiceCredential({ credential: { ...credential, certificateNames: names } });
    expect(changed.credential).toMatchObject({ certificateNames: names });
    const again = admin.updateServiceCredential({ credential: { ...credential, name: "later" } });
    expect(await errorOf(again)).toMatchObject({ code: Code.Aborted, reason: "ETAG_MISMATCH" });
    const { events } = await admin.listAuditEvents({ subjectId: id });
    expect(events.map(({ kind, details }) => ({ kind, details }))).toEqual([
      {
        kind: "credential.updated",
        details: {
          fields: "certificate_names",
          certificate_names_before: name,
          certificate_names_after: names.join(" "),
        },
      },
      { kind: "credential.issued", details: { scopes: "verify", certificate_names: name } },
    ]);
  });
});

/** The status of a POST over HTTP/1.1 and TLS. */
function postHttp1(identity: SecureContextOptions, path: string, headers: Readonly<Record<string, string>> = {}) {
  const [host, port] = service.address.split(":");
  return new Promise<{ status: number | undefined; connection: unknown }>((resolve, reject) => {
    const options = { host, port, path, method: "POST", rejectUnauthorized: false, agent: false as const, ...identity };
    const request = httpsRequest({ ...options, headers: { "content-type": "application/json", ...headers } });
    request.on("response", (response) => {
      response.resume();
      resolve({ status: response.statusCode, connection: response.headers.connection });
    });
    request.on("error", reject);
    request.end('{"apiKey":"junk"}');
  });
}
