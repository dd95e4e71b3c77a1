/** A PostgreSQL cluster of a test, in a temporary folder and on a free loopback port. */
import { execFile, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmodSync, chownSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import {
  folderOf,
  privateFolder,
  removeFolder,
  startProcess,
  type WatchedProcess,
  withFreePort,
} from "./child-process.ts";
import { until } from "./until.ts";

const run = promisify(execFile);
const DEBIAN = "/usr/lib/postgresql";
const USER = "latchkey";

export interface PostgresOptions {
  /** Settings of the server, in addition to those of every test server. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Lines of pg_hba.conf before those for the superuser. */
  readonly access?: readonly string[];
  /** Files in the data folder that only the server may read, by their names. */
  readonly files?: Readonly<Record<string, string>>;
}

export interface PostgresServer extends AsyncDisposable {
  /** The URL of a superuser. The default database is `postgres`. */
  url(database?: string): string;
  readonly port: number;
  /** Pid of the running postmaster. restart() changes it. */
  readonly pid: number;
  /**
   * Makes a database, as a copy of a template if one is given, and returns its URL. No client may be connected to the
   * template.
   */
  createDatabase(name: string, template?: string): Promise<string>;
  /** The log that it has written so far. */
  log(): string;
  /** Folder of its Unix socket. It refuses every client unless `access` has a line for it. */
  readonly socketFolder: string;
  /** Runs SQL through psql as the superuser. Returns psql's unaligned output. */
  sql(text: string, database?: string): Promise<string>;
  /** Ends the server and removes its folder. Nothing else may follow. */
  stop(): Promise<void>;
  /** SIGKILL to the postmaster and all backends: connections are reset, new ones refused. Committed data stay. */
  kill(): Promise<void>;
  /** Starts the server again on the same port and data, after a fast shutdown if it still runs. */
  restart(): Promise<void>;
  /** SIGSTOP to the postmaster and all backends: connections stay open, and nothing answers. */
  freeze(): Promise<void>;
  resume(): void;
}

export function hasPostgres(): boolean {
  // Root must run the server as another user, which Debian's package creates.
  const canRun = process.getuid?.() !== 0 || serverUser() !== undefined;
  return canRun && ["initdb", "postgres", "psql", "pg_dump"].every((name) => program(name) !== undefined);
}

export async function startPostgres(options: PostgresOptions = {}): Promise<PostgresServer> {
  const user = serverUser();
  const folder = privateFolder("latchkey-postgres-");
  const password = randomBytes(12).toString("hex");
  await createCluster(folder, password, user);
  const data = join(folder, "data");
  addFiles(data, options.files ?? {}, user);
  const hba = join(data, "pg_hba.conf");
  writeFileSync(hba, [...(options.access ?? []), readFileSync(hba, "utf8")].join("\n"));
  return serve({ folder, password, user, settings: options.settings ?? {} });
}

/** Starts a hot standby that follows `primary` by streaming. It has everything that was committed before. */
export async function startStandby(primary: PostgresServer): Promise<PostgresServer> {
  const user = serverUser();
  const folder = privateFolder("latchkey-standby-");
  if (user !== undefined) chownSync(folder, user.uid, user.gid);
  const args = ["-D", join(folder, "data"), "-d", primary.url(), "-R", "-c", "fast", "--no-sync"];
  await run(program("pg_basebackup") ?? "pg_basebackup", args, { cwd: folder, ...user });
  return serve({ folder, password: new URL(primary.url()).password, user, settings: {} });
}

/** From now on the standby receives changes but does not show them. */
export async function pauseReplay(standby: PostgresServer): Promise<void> {
  await standby.sql("select pg_wal_replay_pause()");
  const isPaused = async () => (await standby.sql("select pg_get_wal_replay_pause_state()")) === "paused";
  await until(isPaused, "the standby's replay is paused");
}

/** Starts the server again as a standby of no primary: it answers reads, and can be promoted. */
export async function demote(postgres: PostgresServer): Promise<void> {
  writeFileSync(join(await postgres.sql("show data_directory"), "standby.signal"), "");
  await postgres.restart();
}

interface Cluster {
  readonly folder: string;
  readonly password: string;
  readonly user: ServerUser | undefined;
  readonly settings: NonNullable<PostgresOptions["settings"]>;
}

/** Runs a cluster on a free port. */
function serve({ folder, password, user, settings }: Cluster): Promise<PostgresServer> {
  const logFile = join(folder, "postgres.log");
  return withFreePort(async (port) => {
    const url = (database = "postgres") => `postgres://${USER}:${password}@127.0.0.1:${port}/${database}`;
    const start = () => launch({ folder, logFile, settings }, port, url(), user);
    let server = await start();
    const stop = async () => {
      await server.end("SIGINT");
      removeFolder(folder);
    };
    return {
      url,
      port,
      get pid() {
        return server.pid;
      },
      log: () => readFileSync(logFile, "utf8"),
      socketFolder: folder,
      createDatabase: (name, template) => createDatabase(url(), name, template),
      sql: (text, database) => sql(url(database), text),
      stop,
      kill: () => server.kill(),
      restart: async () => {
        await server.end("SIGINT");
        server = await start();
      },
      freeze: () => server.freeze(),
      resume: () => server.resume(),
      [Symbol.asyncDispose]: stop,
    };
  });
}

/** Makes a database on the server of `url`, as a copy of `template` if it is given. Returns the new URL. */
export async function createDatabase(url: string, name: string, template = "template1"): Promise<string> {
  await sql(url, `create database "${name}" template "${template}"`);
  const made = new URL(url);
  made.pathname = `/${name}`;
  return made.href;
}

/** Runs SQL through psql; returns its unaligned output. */
export async function sql(url: string, text: string): Promise<string> {
  const { stdout } = await run(program("psql") ?? "psql", ["-XAtq", "-v", "ON_ERROR_STOP=1", "-c", text, url]);
  return stdout.trim();
}

/** A dump of a database by pg_dump, as SQL. */
export async function dumpDatabase(url: string, ...flags: readonly string[]): Promise<string> {
  const { stdout } = await run(program("pg_dump") ?? "pg_dump", [...flags, url], { maxBuffer: 1 << 28 });
  return stdout;
}

/** Runs such a dump through psql, each statement in its own transaction. The first error ends the run. */
export async function restoreDatabase(url: string, dump: string): Promise<void> {
  const restoring = run(program("psql") ?? "psql", ["-XAtq", "-v", "ON_ERROR_STOP=1", url]);
  restoring.child.stdin!.end(dump);
  await restoring;
}

async function createCluster(folder: string, password: string, user: ServerUser | undefined): Promise<void> {
  const passwordFile = join(folder, "password");
  writeFileSync(passwordFile, password, { mode: 0o600 });
  if (user !== undefined) for (const path of [folder, passwordFile]) chownSync(path, user.uid, user.gid);
  chmodSync(folder, 0o700);
  const access = ["-U", USER, `--pwfile=${passwordFile}`, "--auth-host=password", "--auth-local=reject"];
  const data = ["-D", join(folder, "data"), "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"];
  await run(program("initdb") ?? "initdb", [...access, ...data], { cwd: folder, ...user });
}

function addFiles(folder: string, files: Readonly<Record<string, string>>, user: ServerUser | undefined): void {
  for (const [name, text] of Object.entries(files)) {
    const path = join(folder, name);
    writeFileSync(path, text, { mode: 0o600 });
    if (user !== undefined) chownSync(path, user.uid, user.gid);
  }
}

interface Launch {
  readonly folder: string;
  readonly logFile: string;
  readonly settings: Readonly<Record<string, string>>;
}

function launch(
  { folder, logFile, settings: own }: Launch,
  port: number,
  url: string,
  user: ServerUser | undefined,
): Promise<WatchedProcess> {
  // synchronous_commit stays on, because acknowledged data must survive a killed server. fsync matters only for a loss
  // of power.
  const settings = {
    listen_addresses: "127.0.0.1",
    port,
    unix_socket_directories: folder,
    fsync: "off",
    full_page_writes: "off",
    max_connections: 200,
    shared_buffers: "64MB",
    timezone: "UTC",
    ...own,
  };
  const flags = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  const spec = {
    command: program("postgres") ?? "postgres",
    args: ["-D", join(folder, "data"), ...flags],
    folder,
    logFile,
    user,
  };
  return startProcess(spec, () =>
    sql(url, "select 1").then(
      (answer) => answer === "1",
      () => false,
    ),
  );
}

/** Path of one of PostgreSQL's programs, from PATH or Debian's newest version; undefined if there is none. */
function program(name: string): string | undefined {
  const versions = existsSync(DEBIAN) ? readdirSync(DEBIAN).sort((a, b) => Number(b) - Number(a)) : [];
  const folder = folderOf(
    name,
    versions.map((version) => `${DEBIAN}/${version}/bin`),
  );
  return folder && `${folder}/${name}`;
}

interface ServerUser {
  readonly uid: number;
  readonly gid: number;
}

/** The user for the server, because PostgreSQL refuses to run as root. undefined = the current user. */
function serverUser(): ServerUser | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const [uid, gid] = ["-u", "-g"].map((flag) =>
    spawnSync("id", [flag, "postgres"], { encoding: "utf8" }).stdout.trim(),
  );
  return uid && gid ? { uid: Number(uid), gid: Number(gid) } : undefined;
}
