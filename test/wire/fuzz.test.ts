/**
 * Fuzzing: on any input the service lives, answers with a code of its table, and reports no fault of its own. The cases
 * follow from a seed, which the test prints. FUZZ_SEED sets the seed, and FUZZ_CASES the number of cases.
 */
import { randomInt } from "node:crypto";
import { type ClientHttp2Session, connect as connectHttp2 } from "node:http2";
import { connect as connectTcp } from "node:net";
import { type DescMethod, type DescMethodUnary, fromBinary, toBinary } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { RateLimitService } from "../../src/gen/envoy/service/ratelimit/v3/rls_pb.ts";
import { Code, CodeSchema } from "../../src/gen/google/rpc/code_pb.ts";
import { ErrorInfoSchema } from "../../src/gen/google/rpc/error_details_pb.ts";
import { StatusSchema } from "../../src/gen/google/rpc/status_pb.ts";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { KeyService, Verdict } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import type { Reason } from "../../src/lib/errors.ts";
import { ERRORS } from "../../src/rpc/errors.ts";
import { SeededRandom } from "../simulation/random.ts";
import { errorOf } from "../support/errors.ts";
import { type Person, startTestService, type TestService } from "../support/in-process-service.ts";
import { jsonOf, mutated, NASTY, randomBytes, randomMessage } from "../support/random-messages.ts";
import { frame, grpcMessage } from "../support/raw-http2.ts";
import { type RestClient, restClient } from "../support/rest-request.ts";
import { restRequest } from "../support/rest-transport.ts";

const seed = Number(process.env.FUZZ_SEED ?? randomInt(2 ** 31));
const cases = Number(process.env.FUZZ_CASES ?? 400);

const METHODS: readonly DescMethod[] = [AuthService, KeyService, AdminService, RateLimitService]
  .flatMap((service): readonly DescMethod[] => service.methods)
  .filter(({ methodKind }) => methodKind === "unary");
/** Those of our own contract, which REST has too. */
const OWN_METHODS = METHODS.filter(({ parent }) => parent.typeName.startsWith("latchkey."));
const HTTP_CODES: ReadonlySet<string> = new Set(Object.values(ERRORS).map(({ code }) => code.toLowerCase()));

describe(`in a service that is fuzzed with FUZZ_SEED=${seed},`, () => {
  let service: TestService;
  let session: ClientHttp2Session;
  let credentials: readonly string[];
  let key: string;
  let bystander: Person;
  let words: readonly string[];

  beforeAll(async () => {
    process.stderr.write(`      FUZZ_SEED=${seed}\n`);
    service = await startTestService();
    session = connectHttp2(`http://${service.address}`);
    session.on("error", () => {});
    // Cases may hit and harm the first person and their key. The second person and their key must stay unharmed.
    const { apiKey, person, key: issued } = await service.newKey();
    const known = [apiKey, issued!.id, person.user.id, person.tokens.refreshToken, person.email, issued!.etag];
    ({ apiKey: key, person: bystander } = await service.newKey());
    credentials = [service.admin, person.tokens.accessToken, await service.newCredential("verify"), "garbage"];
    words = [...known, ...NASTY];
  });
  afterAll(async () => {
    session?.destroy();
    await service?.[Symbol.asyncDispose]();
  });

  it("protobuf over gRPC is answered with OK or a code of the table, and with INTERNAL only if it can't be parsed", async () => {
    const random = new SeededRandom(seed);
    const seen = new Set<string>();
    await inParallel(cases, async () => {
      const method = random.pick(METHODS);
      const bytes = mutated(random, toBinary(method.input, randomMessage(random, method.input, words)));
      const body = random.chance(0.9) ? grpcMessage(bytes) : mutated(random, grpcMessage(bytes));
      const type = random.pick(["application/grpc", "application/grpc+proto"]);
      const outcome = await callGrpc(session, method, body, type, random.pick(credentials));
      expect(isTabled(outcome), `${method.name} ${bytes.toString("hex")}: ${JSON.stringify(outcome)}`).toBe(true);
      seen.add(outcome.code);
    });
    // Fuzzing that is always refused for the same reason would test little.
    expect([...seen]).toEqual(expect.arrayContaining(["OK", "INVALID_ARGUMENT", "INTERNAL", "PERMISSION_DENIED"]));
  });

  it("JSON over Connect is answered with 200 or a code of the table, and never with INTERNAL", async () => {
    const random = new SeededRandom(seed + 1);
    const wellFormed = words.filter((word) => word.isWellFormed());
    const seen = new Set<string>();
    await inParallel(cases, async () => {
      const method = random.pick(METHODS);
      const text = jsonOf(method.input, randomMessage(random, method.input, wellFormed));
      const body = random.chance(0.4) ? Buffer.from(text) : mutated(random, Buffer.from(text));
      const response = await fetch(`http://${service.address}/${method.parent.typeName}/${method.name}`, {
        method: "POST",
        headers: { "content-type": "application/json", authorization: `Bearer ${random.pick(credentials)}` },
        body: body as Uint8Array<ArrayBuffer>,
      });
      const answer = (await response.json()) as { code?: string };
      const code = response.status === 200 ? "ok" : (answer.code ?? "");
      seen.add(code);
      const isGood = code === "ok" || (HTTP_CODES.has(code) && code !== "internal");
      expect(isGood, `${method.name} ${body.toString("hex")}: ${JSON.stringify(answer)}`).toBe(true);
    });
    expect([...seen]).toEqual(expect.arrayContaining(["ok", "invalid_argument", "permission_denied"]));
  });

  it("REST is answered with 200 or a code of the table and its HTTP status, and never with INTERNAL", async () => {
    const random = new SeededRandom(seed + 5);
    const wellFormed = words.filter((word) => word.isWellFormed());
    const seen = new Set<string>();
    using http1 = restClient("HTTP/1.1", service.address);
    using http2 = restClient("HTTP/2", service.address);
    await inParallel(cases, async () => {
      const method = random.pick(OWN_METHODS) as DescMethodUnary;
      const message = randomMessage(random, method.input, wellFormed);
      const request = restRequest(method, message, { useProtoFieldName: random.chance(0.5), emptyId: "none" });
      if (request instanceof Error) return;
      const { verb, target, body } = mutatedRequest(random, request);
      const headers = { "content-type": "application/json", authorization: `Bearer ${random.pick(credentials)}` };
      const more = body === undefined ? {} : { body };
      const { status, json } = await random.pick<RestClient>([http1, http2]).ask(verb, target, { headers, ...more });
      const code = status === 200 ? "ok" : json.error.status.toLowerCase();
      seen.add(code);
      const isGood = status === 200 || (HTTP_CODES.has(code) && code !== "internal" && json.error.code === status);
      expect(isGood, `${verb} ${target} ${body?.toString("hex")}: ${JSON.stringify(json)}`).toBe(true);
    });
    expect([...seen]).toEqual(expect.arrayContaining(["ok", "invalid_argument", "permission_denied", "not_found"]));
  });

  it("a key that differs from a good one gets the verdict INVALID, and the good one stays good", async () => {
    const random = new SeededRandom(seed + 2);
    const verifier = service.client(KeyService, service.admin);
    await inParallel(cases, async () => {
      const other = mutated(random, Buffer.from(key)).toString("latin1").replaceAll("\0", "_");
      if (other === key) return;
      const { verdict } = await verifier.verifyKey({ apiKey: other });
      expect(verdict, JSON.stringify(other)).toBe(Verdict.INVALID);
    });
    expect((await verifier.verifyKey({ apiKey: key, cost: 0 })).valid).toBe(true);
  });

  it("a token that differs from a good one is refused, and the good one stays good", async () => {
    const random = new SeededRandom(seed + 3);
    const { accessToken, refreshToken } = bystander.tokens;
    await inParallel(cases / 4, async () => {
      const access = mutated(random, Buffer.from(accessToken))
        .toString("latin1")
        .replaceAll(/[^\x21-\x7e]/g, "A");
      if (access !== accessToken) {
        const error = await errorOf(service.client(AuthService, access).getCurrentUser({}));
        expect([error.code, error.reason], access).toEqual([Code.UNAUTHENTICATED, "CREDENTIAL_INVALID"]);
      }
      const refresh = mutated(random, Buffer.from(refreshToken)).toString("latin1");
      if (refresh !== refreshToken) {
        const error = await errorOf(service.client(AuthService).refresh({ refreshToken: refresh }));
        expect([error.code, error.reason], refresh).toEqual([Code.UNAUTHENTICATED, "REFRESH_TOKEN_INVALID"]);
      }
    });
    await service.client(AuthService, accessToken).getCurrentUser({});
    await service.client(AuthService).refresh({ refreshToken });
  });

  it("a connection of random frames or bytes harms no other", async () => {
    const random = new SeededRandom(seed + 4);
    const port = Number(service.address.split(":").at(-1));
    await inParallel(cases / 4, async () => {
      const socket = connectTcp(port, "127.0.0.1");
      socket.on("error", () => {});
      const closed = new Promise((resolve) => socket.on("close", resolve));
      const start = random.pick(["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "POST /x HTTP/1.1\r\n", "\x16\x03\x01", ""]);
      const frames = Array.from({ length: random.whole(1, 20) }, () =>
        frame(random.whole(0, 10), random.whole(0, 255), random.whole(0, 5), randomBytes(random, 40)),
      );
      socket.end(Buffer.concat([Buffer.from(start, "latin1"), ...frames]));
      socket.resume();
      await closed;
    });
    expect((await service.client(KeyService, service.admin).verifyKey({ apiKey: key, cost: 0 })).valid).toBe(true);
  });

  it("the service has logged no fault of its own", () => {
    expect(service.lines.length).toBeGreaterThan(cases / 2);
    expect(service.lines.filter(({ level }) => level === "error")).toEqual([]);
  });
});

interface HttpRequest {
  readonly verb: string;
  readonly target: string;
  readonly body: Buffer | undefined;
}

/** The request with a random fault in its method, its target or its body, or with none. */
function mutatedRequest(
  random: SeededRandom,
  { verb, target, body }: { verb: string; target: string; body: string | undefined },
): HttpRequest {
  const bytes = body === undefined ? undefined : Buffer.from(body);
  switch (random.whole(0, 4)) {
    case 0:
      return { verb: random.pick(["GET", "POST", "PATCH", "DELETE", "PUT"]), target, body: bytes };
    case 1: {
      // A target of HTTP has no blanks and no controls.
      const text = mutated(random, Buffer.from(target))
        .toString("latin1")
        .replaceAll(/[^\x21-\x7e]/g, "%");
      return { verb, target: `/v1/${text.slice(4)}`, body: bytes };
    }
    case 2:
      return { verb, target: `${target}${target.includes("?") ? "&" : "?"}${randomQuery(random)}`, body: bytes };
    case 3:
      return { verb, target, body: bytes && mutated(random, bytes) };
    default:
      return { verb, target, body: bytes };
  }
}

function randomQuery(random: SeededRandom): string {
  const names = [
    "page_size",
    "pageSize",
    "update_mask",
    "start_time",
    "show_ended",
    "user.id",
    "key",
    "",
    "%",
    "a.b.c",
  ];
  const values = ["1", "true", "", "%00", "%ff", "*", "2026-01-02T03:04:05Z", "x".repeat(2000), "a&a", "name,name"];
  return Array.from({ length: random.whole(1, 4) }, () => `${random.pick(names)}=${random.pick(values)}`).join("&");
}

interface Outcome {
  readonly code: string;
  readonly reason: string | undefined;
}

/** Whether the answer has the code that the table gives its reason. */
function isTabled({ code, reason }: Outcome): boolean {
  if (code === "OK") return true;
  const row = ERRORS[reason as Reason];
  return row?.code === code || (code === "INTERNAL" && reason === "MESSAGE_INVALID");
}

async function callGrpc(
  session: ClientHttp2Session,
  { parent, name }: DescMethod,
  body: Uint8Array,
  contentType: string,
  credential: string,
): Promise<Outcome> {
  const stream = session.request({
    ":method": "POST",
    ":path": `/${parent.typeName}/${name}`,
    "content-type": contentType,
    authorization: `Bearer ${credential}`,
  });
  stream.on("error", () => {});
  let status: Record<string, unknown> = {};
  for (const event of ["response", "trailers"]) {
    stream.on(event, (fields) => {
      status = { ...status, ...fields };
    });
  }
  stream.resume();
  stream.end(body);
  await new Promise((resolve) => stream.on("close", resolve));
  const details = status["grpc-status-details-bin"] as string | undefined;
  const packed = details === undefined ? [] : fromBinary(StatusSchema, Buffer.from(details, "base64")).details;
  const infos = packed.map((any) => anyUnpack(any, ErrorInfoSchema)).filter((info) => info !== undefined);
  return { code: CodeSchema.value[Number(status["grpc-status"]) as Code]?.name ?? "none", reason: infos[0]?.reason };
}

/** Runs `count` cases, 16 at a time. A case does not depend on the order in which others end. */
async function inParallel(count: number, work: () => Promise<void>): Promise<void> {
  for (let done = 0; done < count; done += 16) {
    await Promise.all(Array.from({ length: Math.min(16, count - done) }, work));
  }
}
