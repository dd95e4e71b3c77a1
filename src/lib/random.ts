import { randomBytes } from "node:crypto";

export const BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/**
 * Random characters of base62 from the CSPRNG, each of the 62 equally likely (bytes of 248 and above are drawn again).
 */
export function randomBase62(length: number): string {
  let text = "";
  while (text.length < length) {
    for (const byte of randomBytes(length - text.length + 8)) {
      if (byte < 248 && text.length < length) text += BASE62[byte % 62];
    }
  }
  return text;
}

export { randomBytes };

/** A random number from 0 up to, but not including, 1. */
export function randomFraction(): number {
  return randomBytes(4).readUInt32LE() / 2 ** 32;
}
