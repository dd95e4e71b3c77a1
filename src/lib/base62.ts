import { crc32 } from "node:zlib";
import { BASE62 } from "./random.ts";

/** Length of `checksum62`. */
export const CHECKSUM_LENGTH = 6;
/** Characters that 256 bits need: 62^43 is just above 2^256. */
export const BASE62_LENGTH_256 = 43;

/** 32 bytes as 43 characters of base62, most significant first. */
export function base62Of256(bytes: Uint8Array): string {
  let rest = BigInt(`0x${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex")}`);
  let characters = "";
  for (let i = 0; i < BASE62_LENGTH_256; i++) {
    characters = BASE62[Number(rest % 62n)] + characters;
    rest /= 62n;
  }
  return characters;
}

/**
 * The CRC-32 (IEEE 802.3) of a text as six characters of base62, most significant first. It gives no security: it
 * detects typing errors and junk without I/O.
 */
export function checksum62(text: string): string {
  let rest = crc32(text);
  let characters = "";
  for (let i = 0; i < CHECKSUM_LENGTH; i++) {
    characters = BASE62[rest % 62] + characters;
    rest = Math.floor(rest / 62);
  }
  return characters;
}
