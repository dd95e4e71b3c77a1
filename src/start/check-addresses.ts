import { createServer } from "node:net";
import type { Address, Config } from "../config/config.ts";

/** What the system says of an address, by its code. */
const REFUSALS: Readonly<Record<string, string>> = {
  EADDRINUSE: "is taken by another process",
  EACCES: "may not be listened on by this user",
  EADDRNOTAVAIL: "is no address of this machine",
  ENOTFOUND: "is no address of this machine",
};

/**
 * Finds out before anything else whether the service can listen where it is to: what the database would be waited for and
 * migrated for in vain.
 *
 * @throws Error that names the setting
 */
export async function checkAddresses({ listen, opsListen }: Pick<Config, "listen" | "opsListen">): Promise<void> {
  await checkAddress("LATCHKEY_LISTEN", listen);
  await checkAddress("LATCHKEY_OPS_LISTEN", opsListen);
}

async function checkAddress(setting: string, { host, port }: Address): Promise<void> {
  const probe = createServer((socket) => socket.destroy());
  try {
    await new Promise<void>((resolve, reject) => {
      probe.once("error", reject);
      probe.listen(port, host, resolve);
    });
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? "";
    const refusal = REFUSALS[code] ?? `can't be listened on (${code})`;
    throw new Error(`${setting}: ${host}:${port} ${refusal}`, { cause: error });
  }
  await new Promise((resolve) => probe.close(resolve));
}
