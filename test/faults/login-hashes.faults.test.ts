/** The hashes that a login costs, by the service's own metric, and its answers. A real process on real PostgreSQL. */
import { connect } from "node:http2";
import { create, toBinary } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { AuthService, LoginRequestSchema } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { startFleet } from "../support/fleet.ts";
import { clientOf, PASSWORD } from "../support/in-process-service.ts";
import { withFault } from "../support/mutant-process.ts";
import { type PostgresServer, startPostgres } from "../support/own-postgres.ts";
import { canStart } from "../support/shared-servers.ts";
import { type ReadyService, startService } from "../support/spawned-service.ts";

const WRONG = "violet harbour engine quilt";
/** The only headers and trailers that may differ between two answers. */
const OF_THE_MOMENT = ["date", "x-request-id"];

/** The control: a login of an unknown user costs no hash, and this file must notice it. */
const UNKNOWN_FOR_FREE = {
  file: "src/auth/login.ts",
  search: "using turns = deps.passwords.turnsOf(attempt, input.signal);",
  replacement: `using turns = deps.passwords.turnsOf(attempt, input.signal);
    if ((await deps.users.secretsByEmail(input.email)) === undefined) throw loginFailed();`,
};

/** All that the server sends for one call: headers, body and trailers, in order. */
interface WireAnswer {
  readonly said: string;
  readonly bytes: string;
}

describe.skipIf(!canStart("postgres"))("a login", () => {
  let postgres: PostgresServer;
  let env: NodeJS.ProcessEnv;
  let admin: string;
  let service: ReadyService;
  let numbers = 0;
  beforeAll(async () => {
    postgres = await startPostgres();
    const fleet = await startFleet({
      DATABASE_URL: postgres.url(),
      LATCHKEY_TRUSTED_PROXIES: "127.0.0.0/8",
      LATCHKEY_ARGON2_MEMORY_KIB: "4096",
      LATCHKEY_ARGON2_PASSES: "1",
    });
    service = fleet.service;
    env = fleet.env;
    admin = fleet.admin;
  });
  afterAll(async () => {
    await service?.stop();
    await postgres?.stop();
  });

  const freshIp = () => `10.${++numbers >> 8}.${numbers & 255}.1`;
  const operator = () => clientOf(service.address, AdminService, admin);

  async function newPerson(): Promise<{ email: string; userId: string }> {
    const email = `cost-${++numbers}@example.com`;
    const headers = { "x-forwarded-for": freshIp() };
    const { user } = await clientOf(service.address, AuthService).register({ email, password: PASSWORD }, { headers });
    return { email, userId: user!.id };
  }

  /** Each kind of account: its address, and the password that is tried. */
  const ACCOUNTS: Record<string, () => Promise<readonly [email: string, password: string]>> = {
    "a good password": async () => [(await newPerson()).email, PASSWORD],
    "a wrong password": async () => [(await newPerson()).email, WRONG],
    "an unknown user": async () => [`cost-${++numbers}@example.com`, PASSWORD],
    "what is no address": async () => ["nobody", PASSWORD],
    "a disabled user": async () => {
      const { email, userId } = await newPerson();
      await operator().disableUser({ userId });
      return [email, PASSWORD];
    },
    "a user without a password": async () => {
      const email = `cost-${++numbers}@example.com`;
      await operator().createUser({ email });
      return [email, PASSWORD];
    },
    "a corrupt stored hash": async () => {
      const { email, userId } = await newPerson();
      await postgres.sql(`update users set password_hash = substr(password_hash, 1, 30) where id = '${userId}'`);
      return [email, PASSWORD];
    },
  };

  async function hashes(at = service): Promise<number> {
    const text = await (await fetch(`http://${at.opsAddress}/metrics`)).text();
    return Number(/^latchkey_password_hashes_total (\d+)$/m.exec(text)![1]);
  }

  /** One gRPC call on a connection of its own. */
  function logIn(email: string, password: string, ip = freshIp(), at = service): Promise<WireAnswer> {
    const body = Buffer.from(toBinary(LoginRequestSchema, create(LoginRequestSchema, { email, password })));
    const frame = Buffer.concat([Buffer.from([0, 0, 0, 0, body.length]), body]);
    expect(body.length).toBeLessThan(256);
    const { promise, resolve, reject } = Promise.withResolvers<WireAnswer>();
    const session = connect(`http://${at.address}`);
    session.once("error", reject);
    const stream = session.request({
      ":method": "POST",
      ":path": "/latchkey.v1.AuthService/Login",
      "content-type": "application/grpc",
      te: "trailers",
      "x-forwarded-for": ip,
    });
    const parts: string[] = [];
    let said = "";
    const note = (headers: NodeJS.Dict<unknown>, _flags: number, raw?: string[]) => {
      said = String(headers["grpc-status"] ?? said);
      const fields = (raw ?? []).map(String);
      for (const name of OF_THE_MOMENT) {
        const found = fields.indexOf(name);
        if (found >= 0) fields.splice(found, 2, name, "");
      }
      parts.push(JSON.stringify(fields));
    };
    stream.on("response", note);
    stream.on("trailers", note);
    stream.on("data", (chunk: Buffer) => parts.push(chunk.toString("hex")));
    stream.once("error", reject);
    stream.once("close", () => {
      session.close();
      resolve({ said, bytes: parts.join("\n") });
    });
    stream.end(frame);
    return promise;
  }

  it.each(Object.keys(ACCOUNTS))("costs exactly one hash: %s", async (what) => {
    const [email, password] = await ACCOUNTS[what]!();
    const before = await hashes();
    const { said } = await logIn(email, password);
    expect(said).toBe(what === "a good password" ? "0" : "16");
    expect((await hashes()) - before).toBe(1);
  });

  it("gets the same headers, bytes and trailers at each failure, whatever its cause", async () => {
    const answers: Record<string, string> = {};
    for (const [what, account] of Object.entries(ACCOUNTS)) {
      const answer = await logIn(...(await account()));
      if (what !== "a good password") answers[what] = answer.bytes;
    }
    expect(Object.keys(answers)).toHaveLength(6);
    expect(new Set(Object.values(answers)).size).toBe(1);
    expect(answers["an unknown user"]).toContain("grpc-status");
    // The control: an answer with another error differs.
    const { bytes } = await logIn("nobody", "\u0000");
    expect(bytes).not.toBe(answers["an unknown user"]);
  });

  it("costs no hash once it is throttled", async () => {
    const [ip, { email }] = [freshIp(), await newPerson()];
    for (let n = 0; n < 5; n++) await logIn(email, WRONG, ip);
    const before = await hashes();
    const throttled = [await logIn(email, PASSWORD, ip), await logIn(email, WRONG, ip)];
    expect(throttled.map(({ said }) => said)).toEqual(["8", "8"]);
    expect(throttled[0]!.bytes).toBe(throttled[1]!.bytes);
    expect(await hashes()).toBe(before);
  });

  it("costs no hash if the queue is full, and one if it is judged", async () => {
    const { email } = await newPerson();
    const before = await hashes();
    const answers = await Promise.all(Array.from({ length: 80 }, () => logIn(email, WRONG)));
    const judged = answers.filter(({ said }) => said === "16").length;
    expect(answers.filter(({ said }) => said === "8")).toHaveLength(80 - judged);
    expect(80 - judged).toBeGreaterThan(10);
    expect((await hashes()) - before).toBe(judged);
  });

  it("writes an error to the log for the operator if the stored hash is corrupt", async () => {
    const errors = () =>
      service
        .output()
        .split("\n")
        .filter((line) => line.includes("stored password hash is corrupt"));
    const before = errors().length;
    await logIn(...(await ACCOUNTS["a corrupt stored hash"]!()));
    await expect.poll(() => errors().length).toBe(before + 1);
    expect(errors().at(-1)).toContain('"level":50');
  });

  it("hashes the password again, once, if the configured cost has risen since", async () => {
    const { email, userId } = await newPerson();
    await using raised = await startService({ ...env, LATCHKEY_ARGON2_PASSES: "2" });
    const costs: number[] = [];
    for (let n = 0; n < 2; n++) {
      const before = await hashes(raised);
      expect((await logIn(email, PASSWORD, freshIp(), raised)).said).toBe("0");
      costs.push((await hashes(raised)) - before);
    }
    expect(costs).toEqual([2, 1]);
    expect(await postgres.sql(`select password_hash from users where id = '${userId}'`)).toContain("t=2");
    // A process with the lower cost does not hash it again.
    const before = await hashes();
    expect((await logIn(email, PASSWORD)).said).toBe("0");
    expect((await hashes()) - before).toBe(1);
  });

  it("would reveal an unknown account if it cost no hash: the control", async () => {
    await using mutant = await startService(env, withFault(UNKNOWN_FOR_FREE));
    const before = await hashes(mutant);
    const [email, password] = await ACCOUNTS["an unknown user"]!();
    expect((await logIn(email, password, freshIp(), mutant)).said).toBe("16");
    expect(await hashes(mutant)).toBe(before);
  });
});
