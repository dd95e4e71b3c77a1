import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createSecureContext } from "node:tls";
import type { Clock, Timers } from "../../lib/clock.ts";
import type { Log } from "../../lib/log.ts";

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

/** Interval of the checks: renewed files are served after at most this time. */
const LOOK_EVERY_MS = 5000;

/**
 * The port's TLS certificate, read again when its files change. It compares the contents of the files instead of
 * watching them: this notices every way of replacing them (in place, by rename, by the symbolic links of certbot and of
 * Kubernetes' volumes), on every file system. If a new pair can't be served, the previous pair stays in use, and each
 * look tries again.
 */
export class ServedCertificate {
  readonly #deps: ServedCertificateDeps;
  #served: CertificatePair | undefined;
  /** Looks run one after the other. */
  #looks = Promise.resolve();
  #use: (pair: CertificatePair) => void = () => {};
  #cancelNextLook = () => {};
  #isStopped = false;
  #seenFault: string | undefined;
  #toldFault: string | undefined;

  constructor(deps: ServedCertificateDeps) {
    this.#deps = deps;
  }

  /** Expiry of the certificate that is in use; undefined before `load`. */
  get expiresAtMs(): number | undefined {
    return this.#served?.expiresAtMs;
  }

  /** Reads the pair for the first time. @throws Error that names the setting and the file, and says what to do */
  async load(): Promise<CertificatePair> {
    const { files, clock, log } = this.#deps;
    const pair = await readPair(files);
    this.#served = pair;
    if (pair.expiresAtMs <= clock.nowMs()) log.warn("the TLS certificate has expired; renew it", this.#facts(pair));
    else log.info("the TLS certificate is read", this.#facts(pair));
    return pair;
  }

  /** From now on calls `use` with each new pair, within LOOK_EVERY_MS of the change of its files. */
  watch(use: (pair: CertificatePair) => void): void {
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
    try {
      const pair = await readPair(this.#deps.files);
      const isSame = this.#served?.cert.equals(pair.cert) && this.#served.key.equals(pair.key);
      if (isSame && isAsked) this.#deps.log.info("the TLS certificate is unchanged", this.#facts(pair));
      if (!isSame) this.#replace(pair);
      this.#seenFault = undefined;
      this.#toldFault = undefined;
    } catch (error) {
      this.#warn((error as Error).message, isAsked);
    }
  }

  #replace(pair: CertificatePair): void {
    if (pair.expiresAtMs <= this.#deps.clock.nowMs()) {
      throw new Error(`LATCHKEY_TLS_CERT_FILE: the certificate in ${this.#deps.files.certFile} has expired; renew it`);
    }
    this.#use(pair);
    this.#served = pair;
    this.#deps.log.info("the TLS certificate is replaced: new connections get this one", this.#facts(pair));
  }

  /**
   * Logs a fault after two looks in a row have found it, because the two files are never replaced in the same instant.
   */
  #warn(fault: string, isAsked: boolean): void {
    const isNews = fault !== this.#toldFault && fault === this.#seenFault;
    this.#seenFault = fault;
    if (!isAsked && !isNews) return;
    this.#toldFault = fault;
    const expires = this.#served && isoTime(this.#served.expiresAtMs);
    this.#deps.log.warn("the TLS certificate can't be replaced; the one before serves on", { reason: fault, expires });
  }

  #facts(pair: CertificatePair) {
    return { cert_file: this.#deps.files.certFile, expires: isoTime(pair.expiresAtMs) };
  }
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

function unreadable(what: string): (error: NodeJS.ErrnoException) => never {
  return (error) => {
    throw new Error(`${what} can't be read (${error.code}); put it there, readable by this user`);
  };
}

/**
 * Runs `work`, and throws a message of ours if it fails. OpenSSL's own messages name neither the file nor the remedy.
 */
function attempt<T>(work: () => T, message: (code: string) => string): T {
  try {
    return work();
  } catch (error) {
    throw new Error(message((error as NodeJS.ErrnoException).code ?? "no code"), { cause: error });
  }
}

function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}
