/** The service in a process of its own, on one port and one database across restarts. */
import { cpSync } from "node:fs";
import { inject } from "vitest";
import { freePort, privateFolder } from "../support/child-process.ts";
import { freshUrl } from "../support/database.ts";
import { canStart } from "../support/shared-servers.ts";
import {
  type Cast,
  castAt,
  firstOperatorOf,
  type ReadyService,
  serviceEnvironment,
  startService,
} from "../support/spawned-service.ts";

export interface RunningService extends AsyncDisposable, Cast {
  /** `host:port` */
  readonly address: string;
  readonly port: number;
  /** Stops the process, and starts another one on the same data. */
  restart(): Promise<void>;
}

/** @param settings environment variables in addition to those of `serviceEnvironment` */
export async function startRunningService(settings: Readonly<Record<string, string>> = {}): Promise<RunningService> {
  const folder = privateFolder("latchkey-interop-");
  const port = await freePort();
  const address = `127.0.0.1:${port}`;
  const common = { LATCHKEY_DATA_DIR: folder, LATCHKEY_LISTEN: address, ...settings };
  // PostgreSQL where there is one: the embedded database takes seconds to start.
  if (!canStart("postgres")) cpSync(inject("embeddedTemplate"), folder, { recursive: true });
  const env = serviceEnvironment(canStart("postgres") ? { ...common, DATABASE_URL: await freshUrl() } : common);
  let service: ReadyService = await startService(env);
  const cast = await castAt(address, firstOperatorOf(env));
  return {
    ...cast,
    address,
    port,
    async restart() {
      await service.stop();
      service = await startService(env);
    },
    [Symbol.asyncDispose]: () => service.stop(),
  };
}
