/** Envoy while latchkey is frozen, dead or without its database. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { freePort } from "../support/child-process.ts";
import { hasPostgres, type PostgresServer, startPostgres } from "../support/own-postgres.ts";
import {
  bootstrapOperator,
  type Cast,
  castAt,
  type ReadyService,
  serviceEnvironment,
  startService,
} from "../support/spawned-service.ts";
import { until } from "../support/until.ts";
import { ask, type RunningEnvoy, startEnvoy, startUpstreams, type Upstreams } from "./envoy.ts";
import { ENVOY } from "./envoy-process.ts";
import { hasTools } from "./tools.ts";

type Fields = readonly (readonly [string, string])[];

const EXT_AUTHZ = "envoy.filters.http.ext_authz";
const FORGED: Fields = [["x-latchkey-key-id", "forged"]];

describe.skipIf(!hasTools(ENVOY) || !hasPostgres())("behind Envoy, without a verdict", () => {
  let postgres: PostgresServer;
  let env: NodeJS.ProcessEnv;
  let service: ReadyService;
  let cast: Cast;
  let upstreams: Upstreams;
  /** The example, which closes, one that opens, and one that opens without the filter for forged headers. */
  let closed: RunningEnvoy;
  let open: RunningEnvoy;
  let bare: RunningEnvoy;
  beforeAll(async () => {
    postgres = await startPostgres();
    const listen = `127.0.0.1:${await freePort()}`;
    env = serviceEnvironment({ DATABASE_URL: postgres.url(), LATCHKEY_LISTEN: listen });
    const admin = await bootstrapOperator(env);
    service = await startService(env);
    cast = await castAt(service.address, admin);
    upstreams = await startUpstreams();
    const options = { latchkey: service.address, credential: cast.verifier, upstreams };
    closed = await startEnvoy(options);
    open = await startEnvoy({ ...options, change: ({ filter }) => void Object.assign(filter(EXT_AUTHZ), OPENS) });
    bare = await startEnvoy({
      ...options,
      change: ({ filter, without }) => {
        Object.assign(filter(EXT_AUTHZ), OPENS);
        without("envoy.filters.http.header_mutation");
      },
    });
  });
  afterAll(async () => {
    for (const each of [closed, open, bare, upstreams, service, postgres]) await each?.[Symbol.asyncDispose]();
  });

  const OPENS = { failure_mode_allow: true, failure_mode_allow_header_add: true };
  const withKey = (apiKey: string): Fields => [["x-api-key", apiKey]];
  const newKey = async () => (await cast.issue(1))[0]!;

  /** The example refuses with 503; one that opens lets the request through, and hands no identity on. */
  async function expectNoVerdict(fields: Fields): Promise<void> {
    const served = upstreams.served();
    expect((await ask(closed, "/anything", fields)).status).toBe(503);
    expect(upstreams.served()).toBe(served);
    const opened = await ask(open, "/anything", [...fields, ...FORGED]);
    expect([opened.status, upstreams.served() - served]).toEqual([200, 1]);
    expect(opened.body).toMatchObject({ "x-envoy-auth-failure-mode-allowed": "true" });
    expect(JSON.stringify(opened.body)).not.toContain("latchkey");
  }

  it("a frozen latchkey: nothing passes the example, and it serves again as soon as latchkey does", async () => {
    const { raw, id } = await newKey();
    await until(async () => (await ask(closed, "/anything", withKey(raw))).status === 200, "the key is in memory");
    service.signal("SIGSTOP");
    await expectNoVerdict(withKey(raw));
    service.signal("SIGCONT");
    await until(async () => (await ask(closed, "/anything", withKey(raw))).status === 200, "Envoy serves again");
    expect((await ask(open, "/anything", withKey(raw))).body).toMatchObject({ "x-latchkey-key-id": id });
  });

  it("a killed latchkey: the same, and no Envoy is restarted", async () => {
    const { raw, id } = await newKey();
    await until(async () => (await ask(closed, "/anything", withKey(raw))).status === 200, "the key is in memory");
    service.signal("SIGKILL");
    await service.ended();
    await expectNoVerdict(withKey(raw));
    service = await startService(env);
    await until(async () => (await ask(closed, "/anything", withKey(raw))).status === 200, "Envoy serves again");
    expect((await ask(open, "/anything", withKey(raw))).body).toMatchObject({ "x-latchkey-key-id": id });
  });

  it("hands a forged identity on if Envoy opens without the example's filter: the example needs it", async () => {
    service.signal("SIGSTOP");
    const { status, body } = await ask(bare, "/anything", FORGED);
    service.signal("SIGCONT");
    expect([status, body]).toEqual([200, expect.objectContaining({ "x-latchkey-key-id": "forged" })]);
  });

  it("PostgreSQL unreachable: a key in memory is served, any other gets no verdict, and none is refused", async () => {
    const [kept, other] = [await newKey(), await newKey()];
    const isServed = async () => (await ask(closed, "/anything", withKey(kept.raw))).status === 200;
    await until(isServed, "the key is in memory");
    await postgres.freeze();
    // A busy machine may exceed Envoy's timeout once. Without the key in memory, no request would be served.
    await until(isServed, "the key in memory is served");
    await expectNoVerdict(withKey(other.raw));
    // A text that can't be a key is refused by its form, so no Envoy opens for it.
    expect((await ask(open, "/anything", withKey("invented"))).status).toBe(401);
    expect((await ask(open, "/anything")).status).toBe(401);
    postgres.resume();
    await until(async () => (await ask(closed, "/anything", withKey(other.raw))).status === 200, "both are served");
  });

  it("a refused credential of Envoy's own: no verdict either", async () => {
    const wrong = { latchkey: service.address, credential: `${cast.verifier.slice(0, -1)}~`, upstreams };
    await using refused = await startEnvoy(wrong);
    expect((await ask(refused, "/anything", withKey((await newKey()).raw))).status).toBe(503);
  });
});
