import type { CallOptions as ConnectOptions } from "@connectrpc/connect";
import type { Latchkey } from "@latchkey/client";
import { Connection } from "./connection.ts";
import type { Target } from "./faults.ts";
import type { Progress } from "./progress.ts";
import { secretFrom, secretsFrom } from "./prompts.ts";
import { ADDRESS_FLAG, type GlobalFlags, resolveSettings, type Settings } from "./settings.ts";
import type { Io } from "./terminal.ts";

/** One run of a verb: what it may ask of the service, of the person and of the process. */
export class Invocation implements AsyncDisposable {
  readonly io: Io;
  readonly flags: GlobalFlags;
  /** When the run began, in milliseconds since the Unix epoch: all relative times of its output refer to it. */
  readonly nowMs: number;
  /** Tells how far long work is. */
  readonly progress: Progress;
  #settings: Settings | undefined;
  #connection: Connection | undefined;

  constructor(io: Io, flags: GlobalFlags, progress: Progress) {
    this.io = io;
    this.flags = flags;
    this.nowMs = io.nowMs();
    this.progress = progress;
  }

  /** Read when a verb first needs them, so that a broken profile does not stop the verb that mends it. @throws Fault */
  get settings(): Settings {
    this.#settings ??= resolveSettings(this.flags, this.io);
    return this.#settings;
  }

  /** The names for the line of an error; undefined before the settings were read. */
  get target(): Target | undefined {
    if (this.#settings === undefined) return undefined;
    const { address, addressFrom, credential } = this.#settings;
    return {
      address: addressFrom === ADDRESS_FLAG ? `the address of ${ADDRESS_FLAG}` : address,
      credentialFrom: credential?.from,
    };
  }

  /** Calls without a credential. */
  get connection(): Connection {
    this.#connection ??= new Connection(this.settings, this.io.nowMs);
    return this.#connection;
  }

  get keys(): Latchkey["keys"] {
    return this.connection.latchkey.keys;
  }

  get auth(): Latchkey["auth"] {
    return this.connection.latchkey.auth;
  }

  get admin(): Latchkey["admin"] {
    return this.connection.latchkey.admin;
  }

  /** For each call: it ends with SIGINT, and at --timeout. */
  get call(): ConnectOptions {
    const { timeoutMs } = this.flags;
    return { signal: this.io.signal, ...(timeoutMs !== undefined && { timeoutMs }) };
  }

  /** For streams, which have no deadline. */
  get streamCall(): ConnectOptions {
    return { signal: this.io.signal };
  }

  /** @param what it is, such as "API key" @throws Fault */
  secret(what: string): Promise<string> {
    this.progress.pause();
    return secretFrom(this.io, what).finally(() => this.progress.resume());
  }

  /** @param whats as for `secret` @throws Fault */
  secrets(whats: readonly string[]): Promise<readonly string[]> {
    this.progress.pause();
    return secretsFrom(this.io, whats).finally(() => this.progress.resume());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#connection?.[Symbol.asyncDispose]();
  }
}
