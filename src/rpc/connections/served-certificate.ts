import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createSecureContext } from "node:tls";
import type { Clock, Timers } from "../../lib/clock.ts";
import type { Log, LogFields } from "../../lib/log.ts";
import { attempt, type FileReader, unreadable, WatchedFiles } from "./watched-files.ts";

/** PEM files: the certificate with its chain, and its private key. */
export interface CertificateFiles {
  readonly certFile: string;
  readonly keyFile: string;
}

/** A certificate and its key, which match. */
export interface CertificatePair {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly expiresAtMs: number;
}

export interface ServedCertificateDeps {
  readonly files: CertificateFiles;
  readonly clock: Pick<Clock, "nowMs">;
  readonly timers: Pick<Timers, "after">;
  readonly log: Log;
}

/** The port's TLS certificate, read again when its files change. A pair that can't be served replaces none. */
export class ServedCertificate {
  readonly #deps: ServedCertificateDeps;
  readonly #files: WatchedFiles<CertificatePair>;

  constructor(deps: ServedCertificateDeps) {
    this.#deps = deps;
    this.#files = new WatchedFiles({ ...deps, reader: pairReader(deps) });
  }

  /** Expiry of the certificate that is in use; undefined before `load`. */
  get expiresAtMs(): number | undefined {
    return this.#files.used?.expiresAtMs;
  }

  /** Reads the pair for the first time. @throws Error that names the setting and the file, and says what to do */
  async load(): Promise<CertificatePair> {
    const { files, clock, log } = this.#deps;
    const pair = await this.#files.load();
    const facts = factsOf(files, pair);
    if (pair.expiresAtMs <= clock.nowMs()) log.warn("the TLS certificate has expired; renew it", facts);
    else log.info("the TLS certificate is read", facts);
    return pair;
  }

  /** From now on calls `use` with each new pair, within 5 s of the change of its files. */
  watch(use: (pair: CertificatePair) => void): void {
    this.#files.watch(use);
  }

  /** Looks immediately, and logs the result in any case. Never rejects. */
  readAgain(): Promise<void> {
    return this.#files.readAgain();
  }

  stop(): void {
    this.#files.stop();
  }
}

function pairReader({ files, clock }: ServedCertificateDeps): FileReader<CertificatePair> {
  return {
    read: () => readPair(files),
    isSame: (before, after) => before.cert.equals(after.cert) && before.key.equals(after.key),
    checkReplacement: ({ expiresAtMs }) => {
      if (expiresAtMs > clock.nowMs()) return;
      throw new Error(`LATCHKEY_TLS_CERT_FILE: the certificate in ${files.certFile} has expired; renew it`);
    },
    facts: (pair) => factsOf(files, pair),
    factsOfFault: ({ expiresAtMs }) => ({ expires: isoTime(expiresAtMs) }),
    lines: {
      unchanged: "the TLS certificate is unchanged",
      replaced: "the TLS certificate is replaced: new connections get this one",
      stays: "the TLS certificate can't be replaced; the one before serves on",
    },
  };
}

function factsOf({ certFile }: CertificateFiles, { expiresAtMs }: CertificatePair): LogFields {
  return { cert_file: certFile, expires: isoTime(expiresAtMs) };
}

async function readPair({ certFile, keyFile }: CertificateFiles): Promise<CertificatePair> {
  const [cert, key] = await Promise.all([
    readFile(certFile).catch(unreadable(`LATCHKEY_TLS_CERT_FILE: ${certFile}`)),
    readFile(keyFile).catch(unreadable(`LATCHKEY_TLS_KEY_FILE: ${keyFile}`)),
  ]);
  const certificate = attempt(
    () => new X509Certificate(cert),
    () => `LATCHKEY_TLS_CERT_FILE: ${certFile} must hold the certificate and its chain as PEM`,
  );
  const privateKey = attempt(
    () => createPrivateKey(key),
    () =>
      key.includes("ENCRYPTED")
        ? `LATCHKEY_TLS_KEY_FILE: the key in ${keyFile} is encrypted; store it without a passphrase`
        : `LATCHKEY_TLS_KEY_FILE: ${keyFile} must hold a private key as PEM`,
  );
  // OpenSSL accepts a key of another type, but then no handshake succeeds.
  if (!certificate.checkPrivateKey(privateKey)) {
    throw new Error(
      `LATCHKEY_TLS_KEY_FILE: ${keyFile} is not the key of the certificate in ${certFile}; put both there`,
    );
  }
  attempt(
    () => createSecureContext({ cert, key }),
    (code) => `LATCHKEY_TLS_CERT_FILE: OpenSSL can't serve ${certFile} with ${keyFile} (${code}); make another pair`,
  );
  return { cert, key, expiresAtMs: Date.parse(certificate.validTo) };
}

function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}
