/** Certificates for tests (RFC 5280): an authority and the certificates that it signs. No process is started. */
import { generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";
import { writeFileSync } from "node:fs";
import { isIPv4 } from "node:net";
import { join } from "node:path";
import { privateFolder } from "./child-process.ts";
import { bitString, der, integer, oid, sequence } from "./der.ts";

/** A certificate and its private key, as files and as text. */
export interface Identity {
  readonly certFile: string;
  readonly keyFile: string;
  readonly cert: string;
  readonly key: string;
}

/** The validity and the use of a certificate. */
export interface CertificateOptions {
  /** Default: from yesterday until two days from now; nine days for an authority. */
  readonly between?: readonly [start: Date, end: Date];
  /** Whether its extendedKeyUsage is serverAuth alone. */
  readonly isForServers?: boolean;
}

export interface Authority extends Identity {
  /** @param names of its subjectAltName, such as `DNS:localhost`, or its list in DER; none = only the common name */
  issue(commonName: string, names?: readonly string[] | Uint8Array, options?: CertificateOptions): Identity;
}

/** The parts of a certificate that are written as they are. */
export interface RawCertificate {
  readonly subject: string;
  readonly issuer: string;
  /** SubjectPublicKeyInfo in DER. */
  readonly publicKey: Uint8Array;
  readonly between: readonly [start: Date, end: Date];
  readonly extensions: readonly Uint8Array[];
  /** The AlgorithmIdentifier of the signature in DER. */
  readonly algorithm: Uint8Array;
  signatureOf(signed: Uint8Array): Uint8Array;
}

const DAY_MS = 86_400_000;
const ECDSA_WITH_SHA256 = sequence(oid("2a8648ce3d040302"));
const [COMMON_NAME, BASIC_CONSTRAINTS, KEY_USAGE] = ["550403", "551d13", "551d0f"];
const [SUBJECT_ALT_NAME, EXTENDED_KEY_USAGE, SERVER_AUTH] = ["551d11", "551d25", "2b06010505070301"];
const TRUE = der(0x01, Buffer.of(0xff));
const TAGS: Readonly<Record<string, number>> = { DNS: 0x82, URI: 0x86, IP: 0x87 };

/** The extensions of an authority: CA:TRUE, and a key for certificates and CRLs alone. */
export const AUTHORITY_EXTENSIONS: readonly Uint8Array[] = [
  extension(BASIC_CONSTRAINTS!, sequence(TRUE), TRUE),
  extension(KEY_USAGE!, der(0x03, Buffer.of(1, 0x06)), TRUE),
];

/** Makes a new authority, signed by itself or by its parent. Its files are removed with the test run. */
export function newAuthority(name: string, parent?: Authority, options: CertificateOptions = {}): Authority {
  const folder = privateFolder("latchkey-certificates-");
  const own = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
  const signer = parent === undefined ? { name, key: own.privateKey } : signers.get(parent)!;
  const between = [new Date(Date.now() - DAY_MS), new Date(Date.now() + 9 * DAY_MS)] as const;
  const contents = { subject: name, extensions: AUTHORITY_EXTENSIONS, between, ...options };
  const authority = write(folder, own, contents, signer);
  const issue: Authority["issue"] = (commonName, names = [], more = {}) => {
    const pair = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
    const extensions = [extension(BASIC_CONSTRAINTS!, sequence())];
    const list = names instanceof Uint8Array ? names : sequence(...names.map(generalName));
    if (names.length > 0) extensions.push(extension(SUBJECT_ALT_NAME!, list));
    if (more.isForServers) extensions.push(extension(EXTENDED_KEY_USAGE!, sequence(oid(SERVER_AUTH!))));
    return write(folder, pair, { subject: commonName, extensions, ...more }, { name, key: own.privateKey });
  };
  const made = { ...authority, issue };
  signers.set(made, { name, key: own.privateKey });
  return made;
}

interface Signer {
  readonly name: string;
  readonly key: KeyObject;
}

const signers = new WeakMap<Identity, Signer>();

/** A certificate of any contents, as PEM. */
export function certificatePem(raw: RawCertificate): string {
  const signed = sequence(
    der(0xa0, integer(Buffer.of(2))),
    integer(Buffer.concat([Buffer.of(1), randomBytes(8)])),
    raw.algorithm,
    commonName(raw.issuer),
    sequence(...raw.between.map(time)),
    commonName(raw.subject),
    raw.publicKey,
    der(0xa3, sequence(...raw.extensions)),
  );
  const certificate = sequence(signed, raw.algorithm, bitString(raw.signatureOf(signed)));
  const lines = certificate.toString("base64").replace(/.{64}/g, "$&\n").trimEnd();
  return `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`;
}

function write(
  folder: string,
  { publicKey, privateKey }: { publicKey: KeyObject; privateKey: KeyObject },
  more: Pick<RawCertificate, "subject" | "extensions"> & CertificateOptions,
  signer: Signer,
): Identity {
  const cert = certificatePem({
    issuer: signer.name,
    publicKey: publicKey.export({ type: "spki", format: "der" }),
    between: [new Date(Date.now() - DAY_MS), new Date(Date.now() + 2 * DAY_MS)],
    algorithm: ECDSA_WITH_SHA256,
    signatureOf: (signed) => sign("sha256", signed, signer.key),
    ...more,
  });
  const key = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  const name = randomBytes(4).toString("hex");
  const [certFile, keyFile] = [join(folder, `${name}.pem`), join(folder, `${name}.key`)];
  writeFileSync(certFile, cert);
  writeFileSync(keyFile, key, { mode: 0o600 });
  return { certFile, keyFile, cert, key };
}

function extension(id: string, value: Uint8Array, critical: Uint8Array = Buffer.alloc(0)): Buffer {
  return sequence(oid(id), critical, der(0x04, value));
}

function generalName(name: string): Buffer {
  const [kind, text] = [name.slice(0, name.indexOf(":")), name.slice(name.indexOf(":") + 1)];
  return der(TAGS[kind]!, kind === "IP" ? ipv4(text) : Buffer.from(text, "latin1"));
}

function ipv4(text: string): Buffer {
  if (!isIPv4(text)) throw new Error(`${text} is no IPv4 address`);
  return Buffer.from(text.split(".").map(Number));
}

function commonName(name: string): Buffer {
  return sequence(der(0x31, sequence(oid(COMMON_NAME!), der(0x0c, Buffer.from(name)))));
}

/** UTCTime before 2050, GeneralizedTime from then on (RFC 5280, 4.1.2.5). */
function time(date: Date): Buffer {
  const digits = date.toISOString().replace(/[-:T]|\.\d+/g, "");
  return date.getUTCFullYear() < 2050 ? der(0x17, Buffer.from(digits.slice(2))) : der(0x18, Buffer.from(digits));
}
