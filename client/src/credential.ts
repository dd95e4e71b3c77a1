import { LatchkeyCredentialError } from "./errors.ts";

/** The credential itself, or a function that is asked for it. */
export type CredentialSource = string | (() => string | Promise<string>);

/** Text that fits into a header, and is no header's value as a whole: `Bearer ` is put in front of it here. */
const TEXT = /^[\x21-\x7e]{1,4096}$/;

export function isCredentialText(text: unknown): text is string {
  return typeof text === "string" && TEXT.test(text);
}

/**
 * This client's own credential. A function is asked once, and again only after the service refused what it gave: both
 * secrets of a rotation work while they overlap. Concurrent calls share one question (single-flight).
 */
export class Credential {
  readonly #source: CredentialSource | undefined;
  #text: string | undefined;
  #asking: Promise<string> | undefined;

  /** @param source undefined if a client certificate stands for the credential */
  constructor(source: CredentialSource | undefined) {
    this.#source = source;
    if (typeof source === "string") this.#text = source;
  }

  /**
   * undefined without a source.
   *
   * @throws LatchkeyCredentialError as a rejection, if the function fails or gives no credential
   */
  current(): string | undefined | Promise<string> {
    return this.#source === undefined ? undefined : (this.#text ?? this.#ask());
  }

  /**
   * Another credential than the refused one; undefined if there is none.
   *
   * @throws as `current`
   */
  async after(refused: string): Promise<string | undefined> {
    if (typeof this.#source === "string") return undefined;
    if (this.#text !== undefined && this.#text !== refused) return this.#text;
    const text = await this.#ask();
    return text === refused ? undefined : text;
  }

  #ask(): Promise<string> {
    this.#asking ??= this.#askNow().finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  async #askNow(): Promise<string> {
    let text: unknown;
    try {
      text = typeof this.#source === "function" ? await this.#source() : this.#source;
    } catch (cause) {
      throw new LatchkeyCredentialError("the function `credential` failed", { cause });
    }
    if (!isCredentialText(text)) {
      throw new LatchkeyCredentialError(
        "the function `credential` gave no credential: it must give a text such as kit_svc_...",
      );
    }
    this.#text = text;
    return text;
  }
}
