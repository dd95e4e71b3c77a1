import { readFile, stat } from "node:fs/promises";
import type { Log } from "../lib/log.ts";
import { NO_RULES, parseRules, type RateLimitRules } from "./rate-limit-rules.ts";

export interface RateLimitFileDeps {
  /** The value of LATCHKEY_RATE_LIMITS_FILE; undefined = no file, and no rules. */
  readonly file: string | undefined;
  readonly log: Log;
}

const MAX_BYTES = 1024 * 1024;

/** The file of rate limits: read at the start, and again when the process is told to. */
export class RateLimitFile {
  readonly #deps: RateLimitFileDeps;
  #rules = NO_RULES;
  /** Reads run one after the other, so that an older text never replaces a newer one. */
  #reads = Promise.resolve();

  constructor(deps: RateLimitFileDeps) {
    this.#deps = deps;
  }

  /** The rules in use: those of the last good read. */
  get rules(): RateLimitRules {
    return this.#rules;
  }

  /** Reads the file. @throws {Error} that names the setting, the file and every fault of it; then the rules stay */
  async load(): Promise<void> {
    const { file, log } = this.#deps;
    if (file === undefined) return;
    this.#rules = await readRules(file);
    log.info("the file of rate limits is read", { file, limits: this.#rules.size });
  }

  /** Reads the file again, and logs the result. A file with a fault keeps the rules before it. Never rejects. */
  readAgain(): Promise<void> {
    this.#reads = this.#reads.then(() => this.#replace());
    return this.#reads;
  }

  async #replace(): Promise<void> {
    const { log } = this.#deps;
    try {
      await this.load();
    } catch (error) {
      log.warn("the file of rate limits can't be used; the limits before stay", { reason: (error as Error).message });
    }
  }
}

/** Opens the file of rate limits at the start. @throws {Error} as `RateLimitFile.load` */
export async function openRateLimitFile(deps: RateLimitFileDeps): Promise<RateLimitFile> {
  const rateLimits = new RateLimitFile(deps);
  await rateLimits.load();
  return rateLimits;
}

async function readRules(file: string): Promise<RateLimitRules> {
  const what = `LATCHKEY_RATE_LIMITS_FILE: ${file}`;
  const text = await textOf(file).catch((error: NodeJS.ErrnoException) => {
    throw new Error(`${what} can't be read (${error.code ?? error.message}); put it there, readable by this user`);
  });
  try {
    return parseRules(text);
  } catch (error) {
    throw new Error(`${what}: ${(error as Error).message}`);
  }
}

async function textOf(file: string): Promise<string> {
  const facts = await stat(file);
  if (!facts.isFile()) throw new Error("it is no file");
  if (facts.size > MAX_BYTES) throw new Error(`it has more than ${MAX_BYTES} bytes`);
  return readFile(file, "utf8");
}
