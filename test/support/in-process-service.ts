/** The same service as main.ts starts, with the databases of the run, and clients that call it over a socket. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DescService } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import { inject } from "vitest";
import { readConfig } from "../../src/config/config.ts";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { type IssueKeyResponse, KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import type { TokenPair } from "../../src/gen/latchkey/v1/token_pair_pb.ts";
import type { User } from "../../src/gen/latchkey/v1/user_pb.ts";
import { adminCredentialFile } from "../../src/start/first-operator.ts";
import { type Service, startService } from "../../src/start/service.ts";
import { clientOf, PASSWORD, restClientOf } from "./clients.ts";
import { freshTarget, freshUrl } from "./database.ts";
import { LANE, SPEAKS_REST } from "./lane.ts";
import { type LogLine, recordingLog } from "./recording-log.ts";
import { freshRedis } from "./shared-servers.ts";
import { ShiftedClock } from "./shifted-clock.ts";

export { clientOf, PASSWORD };

export interface Person {
  readonly user: User;
  readonly email: string;
  readonly tokens: TokenPair;
  readonly keys: Client<typeof KeyService>;
  readonly auth: Client<typeof AuthService>;
}

export interface TestService extends AsyncDisposable {
  /** `host:port` */
  readonly address: string;
  readonly opsAddress: string;
  /** Moves the time of the service and its database. Redis has its own time. */
  readonly clock: ShiftedClock;
  /** The first operator's credential, scope admin. */
  readonly admin: string;
  /** All lines of the log. */
  readonly lines: readonly LogLine[];
  /** A client with a credential, or without one. */
  client<S extends DescService>(service: S, credential?: string): Client<S>;
  /** Registers a new person. */
  newPerson(): Promise<Person>;
  /** Issues a new service credential with these scopes. */
  newCredential(...scopes: string[]): Promise<string>;
  /** Issues a key of a new person; `more` is as for IssueKey. */
  newKey(more?: Parameters<Client<typeof KeyService>["issueKey"]>[0]): Promise<IssueKeyResponse & { person: Person }>;
  /** Makes the service read its files again, as SIGHUP does. */
  reload(): void;
  /** Restarts the service on the same data, with `settings` in addition to the first ones. */
  restart(settings?: Readonly<Record<string, string>>): Promise<void>;
}

/** @param settings environment variables in addition to those of a development service */
export async function startTestService(settings: Readonly<Record<string, string>> = {}): Promise<TestService> {
  const clock = new ShiftedClock();
  const log = recordingLog();
  const { environment, remove } = await ground();
  const configOf = (more: Readonly<Record<string, string>> = {}) =>
    readConfig({
      LATCHKEY_LISTEN: "127.0.0.1:0",
      LATCHKEY_OPS_LISTEN: "127.0.0.1:0",
      LATCHKEY_DRAIN_SECONDS: "1",
      // All people of a test come from one address.
      LATCHKEY_HASHES_PER_ADDRESS: "100000",
      // Most tests need people, and no test needs the 35 ms of a hash for production.
      LATCHKEY_ARGON2_MEMORY_KIB: "1024",
      LATCHKEY_ARGON2_PASSES: "1",
      ...environment,
      ...settings,
      ...more,
    });
  let config = configOf();
  const start = () => startService({ config, clock, log, timeShiftMs: () => clock.shiftMs(), ...LANE });
  let service: Service = await start();
  const admin = (await readFile(adminCredentialFile(config.dataDir), "utf8")).trim();
  const client: TestService["client"] = (desc, credential) =>
    (SPEAKS_REST ? restClientOf : clientOf)(service.address, desc, credential);
  let people = 0;

  const test: TestService = {
    get address() {
      return service.address;
    },
    get opsAddress() {
      return service.opsAddress;
    },
    clock,
    admin,
    lines: log.lines,
    client,
    async newPerson() {
      const email = `person-${++people}-${Date.now()}@example.com`;
      const { user, tokens } = await client(AuthService).register({ email, password: PASSWORD });
      const token = tokens!.accessToken;
      return { user: user!, email, tokens: tokens!, keys: client(KeyService, token), auth: client(AuthService, token) };
    },
    async newCredential(...scopes) {
      return (await client(AdminService, admin).issueServiceCredential({ name: scopes.join(), scopes })).secret;
    },
    async newKey(more) {
      const person = await test.newPerson();
      return Object.assign(await person.keys.issueKey({ name: "a key", ...more }), { person });
    },
    reload: () => service.reload(),
    async restart(more) {
      await service.stop();
      config = configOf(more);
      service = await start();
    },
    async [Symbol.asyncDispose]() {
      await service.stop();
      await remove();
    },
  };
  return test;
}

async function ground(): Promise<{ environment: Record<string, string>; remove(): Promise<void> }> {
  if (inject("backing") === "servers") {
    const [url, redisUrl, folder] = await Promise.all([
      freshUrl(),
      freshRedis(),
      mkdtemp(join(tmpdir(), "latchkey-data-")),
    ]);
    return {
      environment: { DATABASE_URL: url, REDIS_URL: redisUrl, LATCHKEY_DATA_DIR: folder },
      remove: () => rm(folder, { recursive: true, force: true }),
    };
  }
  const { target, remove } = await freshTarget("embedded");
  if (target.kind !== "embedded") throw new Error("unreachable");
  return { environment: { LATCHKEY_DATA_DIR: target.folder }, remove };
}
