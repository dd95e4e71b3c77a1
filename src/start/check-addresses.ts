import { createServer } from "node:net";
import type { Address, Config } from "../config/config.ts";

/** The meaning of an error code of the operating system for an address. */
const REFUSALS: Readonly<Record<string, string>> = {
  EADDRINUSE: "is taken by another process",
  EACCES: "may not be listened on by this user",
  EADDRNOTAVAIL: "is not an address of this machine",
  ENOTFOUND: "is not an address of this machine",
};

/**
 * Checks whether the service can listen on its addresses. A start checks this first, so that it does not wait for the
 * database, or migrate it, for nothing.
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
