/** The process: environment, start, wait for a signal, stop. */
import cluster from "node:cluster";
import { existsSync } from "node:fs";
import { constants } from "node:os";
import { type Config, ConfigError, readConfig } from "./config/config.ts";
import { systemClock, systemTimers } from "./lib/clock.ts";
import { createLog, type ErrorLine } from "./lib/log.ts";
import { checkAddresses } from "./start/check-addresses.ts";
import { adminCredentialFile } from "./start/first-operator.ts";
import { startWorkersOpsPort } from "./start/ops-port.ts";
import { Signals } from "./start/signals.ts";
import { onTold, tellReady, Workers } from "./start/workers.ts";

const config = configOrExit();
const log = createLog(config.logLevel, config.logFormat);
process.on("uncaughtException", (error) => fail("an uncaught error, which is a bug; the process ends", error));

/** Stops what this process has started; undefined while it has started nothing. */
let drain: (() => Promise<void>) | undefined;
/**
 * Reads the TLS certificate and the file of rate limits again. It does nothing before the service runs, because the
 * start reads the files anyway.
 */
let reload = () => {};
let isStopping = false;
const signals = new Signals({ stop, force, reload: () => reload() }, systemTimers);
signals.listen(process);
if (cluster.isWorker) onTold({ stop: () => signals.stop("SIGTERM"), reload: () => reload() });

if (cluster.isPrimary) await checkAddresses(config).catch((error) => fail("the service could not start", error));
if (config.workers > 1 && cluster.isPrimary) await runWorkers();
else await run();

async function run(): Promise<void> {
  if (cluster.isPrimary) tellOfConfiguration();
  try {
    // Imported here, because the import takes most of the time of a start: signals are handled before it. The first of
    // several processes does not need it at all.
    const { startService } = await import("./start/service.ts");
    const service = await startService({ config, clock: systemClock, log });
    drain = () => service.stop();
    reload = () => service.reload();
    tellReady();
    log.info("latchkey is ready", { address: service.address, ops: service.opsAddress, pid: process.pid });
    if (!config.production) showNextCommands(service.address);
  } catch (error) {
    fail("the service could not start", error);
  }
}

async function runWorkers(): Promise<void> {
  tellOfConfiguration();
  try {
    const ops = await startWorkersOpsPort(config, log, () => isStopping);
    const workers = new Workers({
      count: config.workers,
      // With port 0 the workers must learn which port was taken.
      environment: { LATCHKEY_OPS_LISTEN: ops.address },
      log,
      onFailedStart: (code) => exit(code),
      onReady: () => {
        reload = () => workers.reload();
        drain = async () => {
          await workers.stop();
          await ops.stop();
        };
      },
    });
  } catch (error) {
    fail("the service could not start", error);
  }
}

function tellOfConfiguration(): void {
  for (const warning of config.developmentWarnings) {
    log.warn("development only: production refuses this default", { default: warning });
  }
  for (const warning of config.warnings) log.warn("a setting is weaker than it seems", { setting: warning });
  const names = config.serviceLinks.join(" ");
  if (names !== "") log.info("service links in the environment are ignored", { names });
}

function configOrExit(): Config {
  try {
    return readConfig(process.env);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    for (const fault of error.faults) process.stderr.write(`latchkey: ${fault}\n`);
    process.exit(78); // EX_CONFIG of sysexits(3)
  }
}

/**
 * Drains. If nothing has started yet, it ends the process with the exit code that shells use for the signal. Otherwise
 * the first process of a container would ignore the signal.
 */
function stop(signal: NodeJS.Signals): void {
  isStopping = true;
  reload = () => {};
  if (drain === undefined) exit(128 + constants.signals[signal]);
  const message = cluster.isPrimary
    ? "stopping; a second signal forces, one second from now at the earliest"
    : "stopping";
  log.info(message, { signal, pid: process.pid });
  drain().then(
    () => {
      log.info("stopped");
      exit(0);
    },
    (error: unknown) => fail("the service could not stop in order", error),
  );
}

/**
 * Ends the process at once. In a worker it does nothing, because a worker may get each request twice: as a signal to
 * all processes, and as a message of the first process. The end of the first process also ends the workers.
 */
function force(): void {
  if (cluster.isPrimary) exit(1);
}

function showNextCommands(address: string): void {
  const file = adminCredentialFile(config.dataDir);
  const lines = [`${settingsInUse()}npm run demo`, `grpcurl -plaintext ${address} list`];
  if (existsSync(file)) {
    const operator = `-H "authorization: Bearer $(cat ${file})"`;
    lines.push(`grpcurl -plaintext ${operator} ${address} latchkey.v1.AdminService/ListServiceCredentials`);
    lines.push(`LATCHKEY_ADDRESS=${address} LATCHKEY_CREDENTIAL_FILE=${file} npx --no-install latchkey status`);
  } else {
    lines.unshift(
      `(umask 077; cat > ${file})    # paste the credential that bootstrap printed: the next line reads it`,
    );
  }
  for (const run of lines) log.info("try next, in another terminal", { run });
}

/** The settings that another terminal needs to reach this service, as a prefix of a command. */
function settingsInUse(): string {
  const names = ["LATCHKEY_LISTEN", "LATCHKEY_DATA_DIR"] as const;
  return names.map((name) => (process.env[name] === undefined ? "" : `${name}=${process.env[name]} `)).join("");
}

/**
 * Logs why the process ends, in one line, and ends it. An error of another class than Error, such as TypeError, was not
 * written by us: the line then also says where it happened.
 */
function fail(message: ErrorLine, error: unknown): never {
  const reason = error instanceof Error ? error.message : String(error);
  log.error(message, { reason }, error instanceof Error && error.name === "Error" ? undefined : error);
  exit(1);
}

function exit(code: number): never {
  log.flush();
  process.exit(code);
}
