import { type Clock, systemClock } from "../../lib/clock.ts";
import type { Log } from "../../lib/log.ts";
import { randomBytes } from "../../lib/random.ts";
import type { Row } from "../row.ts";

/** The channel of signals that a change was committed. */
export const CHANGES_CHANNEL = "latchkey_changes";

/** A connection with its own session, or one that shares sessions with others behind a pooler. */
export interface SignalledConnection {
  query(sql: string): Promise<{ readonly rows: readonly Row[] }>;
  on(event: "notification", listener: (signal: { readonly channel: string }) => void): unknown;
}

export interface SignalsDeps {
  /** Runs a statement on another connection. */
  readonly database: { read(sql: string, parameters: readonly unknown[]): Promise<unknown> };
  readonly log: Log | undefined;
  readonly clock?: Clock;
}

/** How long a probe waits for its signal. */
const PROBE_MS = 1000;
/** How long the result of one probe counts for later connections: a pooler's mode does not change while it runs. */
const KNOWN_MS = 600_000;

/**
 * Finds out whether signals reach a connection, and listens. A pooler that gives each transaction another session
 * accepts LISTEN and delivers nothing. The connection would wait for signals that never come, and polls would be 1 s
 * apart. So through a pooler, a probe is sent first: a signal from another connection. A pooler in that mode can't
 * deliver it by chance, because this connection has no transaction while it waits.
 */
export class Signals {
  readonly #deps: SignalsDeps;
  readonly #clock: Clock;
  #known: { readonly canHear: boolean; readonly atMs: number } | undefined;
  #hasTold = false;

  constructor(deps: SignalsDeps) {
    this.#deps = deps;
    this.#clock = deps.clock ?? systemClock;
  }

  /** Listens for changes if signals reach this connection. @returns whether they do */
  async listen(connection: SignalledConnection): Promise<boolean> {
    const canHear = (await isDirect(connection)) || (await this.#canHearThroughPooler(connection));
    if (canHear) await connection.query(`listen ${CHANGES_CHANNEL}`);
    return canHear;
  }

  async #canHearThroughPooler(connection: SignalledConnection): Promise<boolean> {
    const nowMs = this.#clock.monotonicMs();
    if (this.#known !== undefined && nowMs - this.#known.atMs < KNOWN_MS) return this.#known.canHear;
    const canHear = await this.#probe(connection);
    this.#known = { canHear, atMs: nowMs };
    if (!canHear && !this.#hasTold) {
      this.#hasTold = true;
      this.#deps.log?.warn("the connection pooler delivers no signals; only polls, 4 per second, find changes");
    }
    return canHear;
  }

  async #probe(connection: SignalledConnection): Promise<boolean> {
    const channel = `latchkey_probe_${randomBytes(8).toString("hex")}`;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    connection.on("notification", (signal) => signal.channel === channel && resolve(true));
    await connection.query(`listen ${channel}`);
    const timer = setTimeout(() => resolve(false), PROBE_MS);
    this.#deps.database.read(`select pg_notify('${channel}', '')`, []).catch(() => resolve(false));
    const isHeard = await promise.finally(() => clearTimeout(timer));
    // If sessions are shared, this may reach another session. The first one then listens to a channel that is never
    // used.
    await connection.query("unlisten *");
    return isHeard;
  }
}

async function isDirect(connection: SignalledConnection): Promise<boolean> {
  const { rows } = await connection.query("select pg_backend_pid() as pid");
  // `processID` is from the start of the connection. A pooler sends an invented one.
  return rows[0]!.pid === (connection as { processID?: number | null }).processID;
}
