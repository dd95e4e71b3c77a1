import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createSecureContext } from "node:tls";
import type { Timers } from "../../lib/clock.ts";
import type { Log, LogFields } from "../../lib/log.ts";
import { attempt, type FileReader, unreadable, WatchedFiles } from "./watched-files.ts";

/** The authorities whose client certificates count, as one file has them. */
export interface AuthorityBundle {
  /** PEM. */
  readonly ca: Buffer;
  /** Digests of the certificates. */
  readonly fingerprints: ReadonlySet<string>;
  /** Their ends. None for a file without authorities, which only replaces another one. */
  readonly endsAtMs: readonly number[];
}

export interface ClientAuthoritiesDeps {
  /** PEM file. */
  readonly file: string;
  readonly timers: Pick<Timers, "after">;
  readonly log: Pick<Log, "info" | "warn">;
}

/** Maximum authorities. The handshake names each of them to each client. */
const MAX_AUTHORITIES = 64;
const MAX_BYTES = 1024 * 1024;
/** Time after which a file without authorities is read again: `cp` empties a file for a moment before it writes. */
const EMPTY_MS = 200;
const PEM_BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----[^-]*(-----END \1-----)?/g;

/** The certificate authorities of clients, read again when their file changes. A faulty file replaces nothing. */
export class ClientAuthorities {
  readonly #deps: ClientAuthoritiesDeps;
  readonly #files: WatchedFiles<AuthorityBundle>;

  constructor(deps: ClientAuthoritiesDeps) {
    this.#deps = deps;
    this.#files = new WatchedFiles({ ...deps, reader: bundleReader(deps) });
  }

  /** Reads the file for the first time. @throws Error that names the setting and the file, and says what to do */
  async load(): Promise<AuthorityBundle> {
    const bundle = await this.#files.load();
    if (bundle.endsAtMs.length === 0) throw new Error(alone(nameOf(this.#deps.file)));
    this.#deps.log.info("the client authorities are read", factsOf(this.#deps.file, bundle));
    return bundle;
  }

  /** From now on calls `use` with each new bundle, within 5 s of the change of its file. */
  watch(use: (bundle: AuthorityBundle) => void): void {
    this.#files.watch((bundle) => {
      use(bundle);
      if (bundle.endsAtMs.length > 0) return;
      this.#deps.log.warn("the client authorities are all removed", { ca_file: this.#deps.file });
    });
  }

  /** Looks immediately, and logs the result in any case. Never rejects. */
  readAgain(): Promise<void> {
    return this.#files.readAgain();
  }

  stop(): void {
    this.#files.stop();
  }
}

function bundleReader({ file, timers }: ClientAuthoritiesDeps): FileReader<AuthorityBundle> {
  const read = async () => {
    const bundle = await readBundle(file);
    if (bundle.endsAtMs.length > 0) return bundle;
    await new Promise<void>((resolve) => timers.after(EMPTY_MS, resolve));
    return readBundle(file);
  };
  return {
    read,
    isSame: (before, after) => before.ca.equals(after.ca),
    facts: (bundle) => factsOf(file, bundle),
    lines: {
      unchanged: "the client authorities are unchanged",
      replaced: "the client authorities are replaced",
      stays: "the client authorities can't be replaced; the ones before stay",
    },
  };
}

function factsOf(file: string, { fingerprints, endsAtMs }: AuthorityBundle): LogFields {
  const facts = { ca_file: file, authorities: fingerprints.size };
  return endsAtMs.length === 0 ? facts : { ...facts, first_expires: new Date(Math.min(...endsAtMs)).toISOString() };
}

const nameOf = (file: string) => `LATCHKEY_TLS_CLIENT_CA_FILE: ${file}`;
const alone = (name: string) => `${name} must hold PEM certificates alone, of one authority or more`;

/** @returns a bundle without authorities for a file without a PEM block */
async function readBundle(file: string): Promise<AuthorityBundle> {
  const name = nameOf(file);
  const ca = await readFile(file).catch(unreadable(name));
  if (ca.length > MAX_BYTES) throw new Error(`${name} has more than ${MAX_BYTES} bytes; leave only the authorities`);
  const blocks = [...ca.toString("latin1").matchAll(PEM_BLOCK)];
  if (blocks.length > MAX_AUTHORITIES) throw new Error(`${name} has more than ${MAX_AUTHORITIES} certificates`);
  const certificates = blocks.map(([pem, label, end]) => {
    if (label !== "CERTIFICATE" || end === undefined) throw new Error(alone(name));
    return attempt(
      () => new X509Certificate(pem),
      () => alone(name),
    );
  });
  checkAuthorities(name, certificates);
  attempt(
    () => createSecureContext({ ca }),
    (code) => `${name} can't be used by OpenSSL (${code})`,
  );
  return {
    ca,
    fingerprints: new Set(certificates.map(({ fingerprint256 }) => fingerprint256)),
    endsAtMs: certificates.map(({ validTo }) => Date.parse(validTo)),
  };
}

function checkAuthorities(name: string, certificates: readonly X509Certificate[]): void {
  const leaf = certificates.findIndex((certificate) => !certificate.ca);
  // A certificate of a client would be trusted by itself, whatever becomes of its authority.
  if (leaf !== -1) throw new Error(`${name}: certificate ${leaf + 1} is no authority (CA:TRUE); take it out`);
  // Node's TLS server trusts no chain that ends at an intermediate authority.
  const isRooted = (one: X509Certificate) => certificates.some((other) => one.checkIssued(other));
  const partial = certificates.findIndex((certificate) => !isRooted(certificate));
  if (partial === -1) return;
  throw new Error(`${name}: certificate ${partial + 1} is an intermediate authority; add the root that signed it`);
}
