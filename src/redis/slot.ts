/** Number of slots of a cluster. */
export const SLOTS = 16_384;
/** The polynomial of CRC-16/XMODEM, which the Redis Cluster specification uses (appendix A). */
const POLYNOMIAL = 0x1021;
const TABLE = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8;
  for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1) ^ POLYNOMIAL : crc << 1;
  return crc;
});

/** The cluster slot of a hash tag, which is the text between `{` and `}` in a key. Only for ASCII. */
export function slotOf(hashTag: string): number {
  let crc = 0;
  for (let at = 0; at < hashTag.length; at++) {
    crc = ((crc << 8) ^ TABLE[((crc >> 8) ^ hashTag.charCodeAt(at)) & 0xff]!) & 0xffff;
  }
  return crc % SLOTS;
}
