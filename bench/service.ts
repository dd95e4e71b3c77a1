import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { DescService } from "@bufbuild/protobuf";
import { createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { AdminService } from "../src/gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "../src/gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "../src/gen/latchkey/v1/key_service_pb.ts";
import { adminCredentialFile } from "../src/start/first-operator.ts";
import { NODE, type Server, startServer } from "./server.ts";

/** latchkey as `npm start` runs it, in a folder of its own, with a caller's credential and keys to verify. */
export interface Service extends Server {
  /** The credential of a service with the scope `verify`. */
  readonly credential: string;
  /** The credential of another service with the same scope. */
  readonly otherCredential: string;
  /** `host:port` of the second port. */
  readonly opsAddress: string;
  /** Keys without limits. */
  readonly openKeys: readonly string[];
  /** Keys with a minute and a day that no run can fill. */
  readonly limitedKeys: readonly string[];
  /** Keys without limits that no call has presented yet. */
  readonly unseenKeys: readonly string[];
}

export interface ServiceOptions {
  /** DATABASE_URL and REDIS_URL; absent ones are not used. */
  readonly stores: Readonly<Record<string, string>>;
  readonly unseenKeys: number;
}

/** Number of keys in one batch. No call of any row needs more. */
export const KEYS_IN_BATCH = 50;
/** A limit that no run can reach, so that every call is counted and none is refused. */
export const NO_RUN_FILLS = 999_999_999;
/** Maximum keys of one owner, because an owner with thousands would be a special case. */
const KEYS_PER_OWNER = 100;

const TIERS = { limited: `limited:${NO_RUN_FILLS}/${NO_RUN_FILLS}`, open: "open:-/-" };
const MAIN = join(import.meta.dirname, "../src/main.ts");

export async function startService({ stores, unseenKeys }: ServiceOptions): Promise<Service> {
  const server = await startServer(
    () => [...NODE, MAIN],
    (port, folder) => ({
      ...stores,
      LATCHKEY_LISTEN: `127.0.0.1:${port}`,
      LATCHKEY_OPS_LISTEN: "127.0.0.1:0",
      LATCHKEY_DATA_DIR: folder,
      LATCHKEY_TIERS: `${TIERS.limited},${TIERS.open}`,
    }),
    // The start opens the port early, to check the address. Later it writes this file, and then it serves.
    (folder) => existsSync(adminCredentialFile(folder)),
  );
  const [, opsAddress = ""] = / ops=(\S+)/.exec(server.lastWords()) ?? [];
  const manager = new Http2SessionManager(`http://127.0.0.1:${server.port}`);
  try {
    const clients = clientsOf(manager);
    const admin = readFileSync(adminCredentialFile(server.folder), "utf8").trim();
    const issue = (name: string) => clients(AdminService, admin).issueServiceCredential({ name, scopes: ["verify"] });
    const [own, other] = [await issue("bench"), await issue("other")];
    const [openKeys, limitedKeys] = [
      await issueKeys(clients, admin, "open", KEYS_IN_BATCH),
      await issueKeys(clients, admin, "limited", KEYS_IN_BATCH),
    ];
    const unseen: string[] = [];
    while (unseen.length < unseenKeys) {
      const count = Math.min(KEYS_PER_OWNER, unseenKeys - unseen.length);
      unseen.push(...(await issueKeys(clients, admin, "open", count)));
    }
    const credentials = { credential: own.secret, otherCredential: other.secret };
    return { ...server, ...credentials, opsAddress, openKeys, limitedKeys, unseenKeys: unseen };
  } catch (error) {
    const said = server.lastWords();
    await server.stop();
    throw new Error(`${(error as Error).message}; the service said:\n${said}`, { cause: error });
  } finally {
    manager.abort();
  }
}

type Clients = ReturnType<typeof clientsOf>;

function clientsOf(sessionManager: Http2SessionManager) {
  const baseUrl = sessionManager.authority;
  return <S extends DescService>(service: S, credential?: string) => {
    const withCredential: Interceptor = (next) => (request) => {
      if (credential !== undefined) request.header.set("authorization", `Bearer ${credential}`);
      return next(request);
    };
    return createClient(service, createGrpcTransport({ baseUrl, sessionManager, interceptors: [withCredential] }));
  };
}

/** Keys that are issued at a time. The service lets 80 calls of one method wait for a caller. */
const ISSUED_AT_A_TIME = 50;

/** Issues keys of a new owner. */
async function issueKeys(clients: Clients, admin: string, tier: keyof typeof TIERS, count: number): Promise<string[]> {
  const email = `${crypto.randomUUID()}@example.com`;
  const { user, tokens } = await clients(AuthService).register({ email, password: crypto.randomUUID() });
  await clients(AdminService, admin).updateUser({ user: { id: user!.id, tier }, updateMask: { paths: ["tier"] } });
  const keys = clients(KeyService, tokens!.accessToken);
  const issued: string[] = [];
  while (issued.length < count) {
    const names = Array.from(
      { length: Math.min(ISSUED_AT_A_TIME, count - issued.length) },
      (_, n) => issued.length + n,
    );
    const answers = await Promise.all(names.map((name) => keys.issueKey({ name: `key ${name}`, tier })));
    issued.push(...answers.map(({ apiKey }) => apiKey));
  }
  return issued;
}
