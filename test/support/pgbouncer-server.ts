/** A pgbouncer of a test before a PostgreSQL server, on a free loopback port, configured as Debian installs it. */
import { spawnSync } from "node:child_process";
import { chownSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  folderOf,
  privateFolder,
  removeFolder,
  startProcess,
  type WatchedProcess,
  withFreePort,
} from "./child-process.ts";
import { sql } from "./own-postgres.ts";

/** The time for which a client keeps a server connection: its session, one transaction, or one statement. */
export type PoolMode = "session" | "transaction" | "statement";

export interface PgbouncerServer extends AsyncDisposable {
  readonly port: number;
  readonly pid: number;
  /** The URL of a database through this pooler. */
  url(databaseUrl: string): string;
  /** Path of its log file. */
  readonly logFile: string;
  /** Runs a statement on its administration console, such as `show pools`. */
  console(statement: string): Promise<string>;
  stop(): Promise<void>;
}

export interface PgbouncerOptions {
  readonly mode: PoolMode;
  /** Role names with their passwords. */
  readonly users: Readonly<Record<string, string>>;
  /** Further lines of the section [pgbouncer], such as `default_pool_size = 2`. */
  readonly lines?: readonly string[];
}

export function hasPgbouncer(): boolean {
  const canRun = process.getuid?.() !== 0 || poolerUser() !== undefined;
  return canRun && program() !== undefined;
}

/** @param postgresPort port of the PostgreSQL server on loopback */
export async function startPgbouncer(postgresPort: number, options: PgbouncerOptions): Promise<PgbouncerServer> {
  const folder = privateFolder("latchkey-pgbouncer-");
  return withFreePort(async (port) => {
    const server = await launch(folder, port, postgresPort, options);
    const stop = async () => {
      await server.end("SIGINT");
      removeFolder(folder);
    };
    return {
      port,
      pid: server.pid,
      logFile: join(folder, "pgbouncer.log"),
      url: (databaseUrl) => {
        const through = new URL(databaseUrl);
        through.port = `${port}`;
        return through.href;
      },
      console: (statement) => sql(consoleUrl(port), statement),
      stop,
      [Symbol.asyncDispose]: stop,
    };
  });
}

/** The role for the administration console. It is not a role of PostgreSQL. */
const ADMIN = "pooler_admin";

function consoleUrl(port: number): string {
  return `postgres://${ADMIN}:admin@127.0.0.1:${port}/pgbouncer`;
}

function launch(
  folder: string,
  port: number,
  postgresPort: number,
  { mode, users, lines = [] }: PgbouncerOptions,
): Promise<WatchedProcess> {
  const settings = [
    "[databases]",
    `* = host=127.0.0.1 port=${postgresPort}`,
    "[pgbouncer]",
    `listen_addr = 127.0.0.1`,
    `listen_port = ${port}`,
    "unix_socket_dir =",
    "auth_type = md5",
    `auth_file = ${join(folder, "userlist.txt")}`,
    `admin_users = ${ADMIN}`,
    `pool_mode = ${mode}`,
    ...lines,
  ];
  const known = Object.entries({ ...users, [ADMIN]: "admin" });
  writeOwned(folder, "userlist.txt", known.map(([name, password]) => `"${name}" "${password}"`).join("\n"));
  writeOwned(folder, "pgbouncer.ini", settings.join("\n"));
  const user = poolerUser();
  if (user !== undefined) chownSync(folder, user.uid, user.gid);
  const spec = {
    command: program() ?? "pgbouncer",
    args: [join(folder, "pgbouncer.ini")],
    folder,
    logFile: join(folder, "pgbouncer.log"),
    user,
  };
  return startProcess(spec, () =>
    sql(consoleUrl(port), "show version").then(
      (answer) => answer.includes("PgBouncer"),
      () => false,
    ),
  );
}

function writeOwned(folder: string, name: string, text: string): void {
  const path = join(folder, name);
  writeFileSync(path, `${text}\n`, { mode: 0o600 });
  const user = poolerUser();
  if (user !== undefined) chownSync(path, user.uid, user.gid);
}

function program(): string | undefined {
  const folder = folderOf("pgbouncer", ["/usr/sbin", "/usr/local/sbin"]);
  return folder && `${folder}/pgbouncer`;
}

/** The user for pgbouncer, which refuses to run as root. undefined = the current user. */
function poolerUser(): { readonly uid: number; readonly gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const [uid, gid] = ["-u", "-g"].map((flag) =>
    spawnSync("id", [flag, "postgres"], { encoding: "utf8" }).stdout.trim(),
  );
  return uid && gid ? { uid: Number(uid), gid: Number(gid) } : undefined;
}
