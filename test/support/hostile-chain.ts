/** A chain of certificates whose signatures cost the most to check (made-up 16,384-bit RSA keys; OpenSSL's largest). */
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { AUTHORITY_EXTENSIONS, certificatePem } from "./certificate-authority.ts";
import { bitString, der, integer, oid, sequence } from "./der.ts";

const NULL = der(0x05);
const RSA = sequence(oid("2a864886f70d010101"), NULL);
const SHA256_WITH_RSA = sequence(oid("2a864886f70d01010b"), NULL);
const LARGEST_EXPONENT = Buffer.alloc(8, 0xff);

/** @param issuers number of made-up issuers above the client's own certificate, 4.3 KiB each */
export function hostileChain(issuers: number): { cert: string; key: string } {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
  const own = publicKey.export({ type: "spki", format: "der" });
  const certificates = Array.from({ length: issuers + 1 }, (_, n) =>
    certificatePem({
      subject: `hostile ${n}`,
      issuer: `hostile ${n + 1}`,
      publicKey: n === 0 ? own : sequence(RSA, bitString(sequence(integer(modulus()), integer(LARGEST_EXPONENT)))),
      between: [new Date(Date.now() - 86_400_000), new Date(Date.now() + 86_400_000)],
      extensions: n === 0 ? [] : AUTHORITY_EXTENSIONS,
      algorithm: SHA256_WITH_RSA,
      signatureOf: () => Buffer.concat([Buffer.of(0x01), randomBytes(2047)]),
    }),
  );
  return { cert: certificates.join(""), key: privateKey.export({ type: "pkcs8", format: "pem" }).toString() };
}

/** 16,384 bits, odd. */
function modulus(): Buffer {
  const bytes = randomBytes(2048);
  bytes[0]! |= 0xc0;
  bytes[2047]! |= 1;
  return bytes;
}
