/** The set-up of most fault tests: processes on servers that a test may hurt, an operator, and keys. */
import { type FaultProxy, startFaultProxy } from "./fault-proxy.ts";
import {
  type Cast,
  castAt,
  firstOperatorOf,
  type ReadyService,
  serviceEnvironment,
  startService,
} from "./spawned-service.ts";

/** Processes that serve the same people and keys. */
export interface Fleet extends AsyncDisposable {
  /** The environment of the processes, to start more of them. */
  readonly env: NodeJS.ProcessEnv;
  /** The first operator's credential, scope `admin`. */
  readonly admin: string;
  readonly processes: readonly ReadyService[];
  /** The first of the processes. */
  readonly service: ReadyService;
  /** Makes a person and a verifying service. */
  cast(): Promise<Cast>;
  /** Stops the processes. */
  stop(): Promise<void>;
}

/**
 * Starts processes at once. One of them makes the first operator, as a development service does: a process of
 * `bootstrap` would take as long as a start.
 *
 * @param settings environment variables of all processes, in addition to those of `serviceEnvironment`
 * @param each further variables of each process; by default there is one process
 * @param nodeFlags flags of Node itself, such as `--inspect`
 */
export async function startFleet(
  settings: Readonly<Record<string, string>>,
  each: readonly Readonly<Record<string, string>>[] = [{}],
  nodeFlags: readonly string[] = [],
): Promise<Fleet> {
  const env = serviceEnvironment(settings);
  const processes = await Promise.all(each.map((own) => startService({ ...env, ...own }, nodeFlags)));
  const admin = firstOperatorOf(env);
  const service = processes[0]!;
  const stop = async () => {
    await Promise.all(processes.map((each) => each.stop()));
  };
  return {
    env,
    admin,
    processes,
    service,
    cast: () => castAt(service.address, admin),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/** Starts a proxy to the server of a URL. Returns the proxy, and the URL through it. */
export async function startProxyTo(url: string): Promise<{ readonly proxy: FaultProxy; readonly url: string }> {
  const through = new URL(url);
  const proxy = await startFaultProxy(Number(through.port));
  through.port = `${proxy.port}`;
  return { proxy, url: through.href };
}
