/**
 * The certificates and keys for TLS with PostgreSQL. They are read for each connection, so that a new certificate needs
 * no restart. A file that can't be used fails the connection with its path. It never leads to a connection without TLS
 * or without a check.
 */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { isIP } from "node:net";
import { type ConnectionOptions, checkServerIdentity, getCACertificates, type PeerCertificate } from "node:tls";
import { type DatabaseConnection, SYSTEM_ROOTS } from "../../lib/database-connection.ts";

/** Code of the error for a file that can't be used. */
export const TLS_FILE = "ERR_TLS_FILE";

const CERTIFICATES = /-----BEGIN (?:TRUSTED )?CERTIFICATE-----[^-]+-----END (?:TRUSTED )?CERTIFICATE-----/g;

/**
 * The options of TLS with this server. sslmode has the meaning that it has in libpq: if an authority is given, every
 * mode checks it. `require` without an authority checks nothing, and only `verify-full` checks the host name.
 *
 * @throws Error with code ERR_TLS_FILE that names the file
 */
export async function tlsOptions(connection: DatabaseConnection): Promise<ConnectionOptions> {
  const { host, sslMode, rootCertificate, clientCertificate } = connection;
  const [ca, client] = await Promise.all([
    rootCertificate === undefined ? undefined : authorities(rootCertificate),
    clientCertificate === undefined ? undefined : clientIdentity(clientCertificate),
  ]);
  return {
    ...(isIP(host) === 0 && { servername: host }),
    ...(ca !== undefined && { ca }),
    ...client,
    rejectUnauthorized: ca !== undefined,
    checkServerIdentity: (_name, certificate) => (sslMode === "verify-full" ? wrongName(host, certificate) : undefined),
  };
}

async function authorities(path: string): Promise<string[]> {
  if (path === SYSTEM_ROOTS) {
    const roots = getCACertificates("system");
    if (roots.length > 0) return roots;
    throw unusable(
      "sslrootcert",
      path,
      "this machine has no certificate authorities; install its package ca-certificates",
    );
  }
  const text = await contents("sslrootcert", path);
  const found = text.match(CERTIFICATES) ?? [];
  if (found.length === 0) throw unusable("sslrootcert", path, "has no certificate in PEM");
  for (const each of found) parsed("sslrootcert", path, () => new X509Certificate(each));
  return found;
}

async function clientIdentity({ certFile, keyFile }: { readonly certFile: string; readonly keyFile: string }) {
  const [cert, key] = await Promise.all([contents("sslcert", certFile), contents("sslkey", keyFile)]);
  const certificate = parsed("sslcert", certFile, () => new X509Certificate(cert));
  // "ENCRYPTED PRIVATE KEY", or "Proc-Type: 4,ENCRYPTED" of the older form.
  if (key.includes("ENCRYPTED")) throw unusable("sslkey", keyFile, "is encrypted; write it without a passphrase");
  const privateKey = parsed("sslkey", keyFile, () => createPrivateKey(key));
  if (!certificate.checkPrivateKey(privateKey)) throw unusable("sslkey", keyFile, "is not the key of sslcert");
  return { cert, key };
}

async function contents(parameter: string, path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    throw unusable(parameter, path, `can't be read (${(error as NodeJS.ErrnoException).code})`);
  }
}

function parsed<T>(parameter: string, path: string, parse: () => T): T {
  try {
    return parse();
  } catch {
    throw unusable(parameter, path, "is not valid PEM");
  }
}

function unusable(parameter: string, path: string, fault: string): Error {
  return Object.assign(new Error(`${parameter}: ${path} ${fault}`), { code: TLS_FILE });
}

/**
 * The error for a certificate with another name. Like libpq, this accepts an IP address also as a DNS name or, without
 * alternative names, as the common name.
 */
function wrongName(host: string, certificate: PeerCertificate): Error | undefined {
  const error = checkServerIdentity(host, certificate);
  if (error === undefined || isIP(host) === 0) return error;
  const names = certificate.subjectaltname?.split(", ") ?? [];
  const isNamed = names.length === 0 ? certificate.subject?.CN === host : names.includes(`DNS:${host}`);
  return isNamed ? undefined : error;
}
