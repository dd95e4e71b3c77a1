import type { Timers } from "../../lib/clock.ts";
import type { InfoLine, Log, LogFields, WarnLine } from "../../lib/log.ts";

/** A value that is read from some files, and what the log says of it. */
export interface FileReader<T> {
  /** Reads and checks the files. @throws Error that names the setting and the file, and says what to do */
  read(): Promise<T>;
  isSame(before: T, after: T): boolean;
  /** @throws Error for contents that may be used at the start, but must not replace others */
  checkReplacement?(contents: T): void;
  facts(contents: T): LogFields;
  /** More facts for the line about contents that stay. */
  factsOfFault?(contents: T): LogFields;
  readonly lines: {
    readonly unchanged: InfoLine;
    readonly replaced: InfoLine;
    readonly stays: WarnLine;
  };
}

export interface WatchedFilesDeps<T> {
  readonly reader: FileReader<T>;
  readonly timers: Pick<Timers, "after">;
  readonly log: Pick<Log, "info" | "warn">;
}

/** Interval of the checks: new contents are in use after at most this time. */
const LOOK_EVERY_MS = 5000;

/**
 * Files that are read again when they change. It compares their contents instead of watching them: this notices every
 * way of replacing them (in place, by rename, by the symbolic links of certbot and of Kubernetes' volumes), on every
 * file system. If new contents have a fault, the previous ones stay in use, and each look tries again.
 */
export class WatchedFiles<T> {
  readonly #deps: WatchedFilesDeps<T>;
  #used: T | undefined;
  /** Looks run one after the other. */
  #looks = Promise.resolve();
  #use: (contents: T) => void = () => {};
  #cancelNextLook = () => {};
  #isStopped = false;
  #seenFault: string | undefined;
  #toldFault: string | undefined;

  constructor(deps: WatchedFilesDeps<T>) {
    this.#deps = deps;
  }

  /** The contents in use; undefined before `load`. */
  get used(): T | undefined {
    return this.#used;
  }

  /** Reads the files for the first time. @throws as `read` */
  async load(): Promise<T> {
    this.#used = await this.#deps.reader.read();
    return this.#used;
  }

  /** From now on calls `use` with all new contents, within LOOK_EVERY_MS of the change of the files. */
  watch(use: (contents: T) => void): void {
    this.#use = use;
    this.#lookLater();
  }

  /** Looks immediately, and logs the result in any case. Never rejects. */
  readAgain(): Promise<void> {
    this.#looks = this.#looks.then(() => this.#look(true));
    return this.#looks;
  }

  stop(): void {
    this.#isStopped = true;
    this.#cancelNextLook();
  }

  #lookLater(): void {
    if (this.#isStopped) return;
    this.#cancelNextLook = this.#deps.timers.after(LOOK_EVERY_MS, () => {
      this.#looks = this.#looks.then(() => this.#look(false)).then(() => this.#lookLater());
    });
  }

  async #look(isAsked: boolean): Promise<void> {
    if (this.#isStopped) return;
    const { reader, log } = this.#deps;
    try {
      const contents = await reader.read();
      const isSame = this.#used !== undefined && reader.isSame(this.#used, contents);
      if (isSame && isAsked) log.info(reader.lines.unchanged, reader.facts(contents));
      if (!isSame) this.#replace(contents);
      this.#seenFault = undefined;
      this.#toldFault = undefined;
    } catch (error) {
      this.#warn((error as Error).message, isAsked);
    }
  }

  #replace(contents: T): void {
    const { reader, log } = this.#deps;
    reader.checkReplacement?.(contents);
    this.#use(contents);
    this.#used = contents;
    log.info(reader.lines.replaced, reader.facts(contents));
  }

  /** Logs a fault after two looks in a row have found it, because two files are never replaced in the same instant. */
  #warn(fault: string, isAsked: boolean): void {
    const isNews = fault !== this.#toldFault && fault === this.#seenFault;
    this.#seenFault = fault;
    if (!isAsked && !isNews) return;
    this.#toldFault = fault;
    const { reader, log } = this.#deps;
    const facts = this.#used && (reader.factsOfFault ?? reader.facts)(this.#used);
    log.warn(reader.lines.stays, { reason: fault, ...facts });
  }
}

/** Rethrows the error of a file that can't be read. @param what the setting and the file */
export function unreadable(what: string): (error: NodeJS.ErrnoException) => never {
  return (error) => {
    throw new Error(`${what} can't be read (${error.code}); put it there, readable by this user`);
  };
}

/**
 * Runs `work`, and throws a message of ours if it fails. OpenSSL's own messages name neither the file nor the remedy.
 */
export function attempt<T>(work: () => T, message: (code: string) => string): T {
  try {
    return work();
  } catch (error) {
    throw new Error(message((error as NodeJS.ErrnoException).code ?? "no code"), { cause: error });
  }
}
