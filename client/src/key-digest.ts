import { hash, randomBytes } from "node:crypto";

/**
 * Digests of raw keys under a secret of this process. So memory contains no raw key, and a digest from it is of no use
 * elsewhere. Plain SHA-256 over both suffices, because 256 random bits can't be guessed; an HMAC takes three times as
 * long.
 */
export class KeyDigests {
  readonly #secret = randomBytes(32).toString("base64");

  of(apiKey: string): string {
    return hash("sha256", this.#secret + apiKey, "base64");
  }
}
