import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { connect, type TLSSocket } from "node:tls";

export interface CertificateFiles {
  readonly certFile: string;
  readonly keyFile: string;
}

const KEYS = {
  ec: ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"],
  rsa: ["rsa:2048"],
} as const;

/** Makes a self-signed certificate for localhost, valid for a day: `<name>.crt` and `<name>.key` in the folder. */
export function makeCertificate(folder: string, name: string, kind: keyof typeof KEYS = "ec"): CertificateFiles {
  const files = { certFile: join(folder, `${name}.crt`), keyFile: join(folder, `${name}.key`) };
  const subject = ["-subj", `/CN=${name}`, "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
  const key = ["-newkey", ...KEYS[kind], "-nodes", "-keyout", files.keyFile];
  execFileSync("openssl", ["req", "-x509", "-days", "1", ...key, "-out", files.certFile, ...subject], {
    stdio: "pipe",
  });
  return files;
}

/** The serial number of a certificate. */
export function serialOf({ certFile }: Pick<CertificateFiles, "certFile">): string {
  return new X509Certificate(readFileSync(certFile)).serialNumber;
}

/** The serial number of the certificate on a new connection; undefined if the handshake fails. */
export async function servedSerial(port: number): Promise<string | undefined> {
  const socket = connect({ port, host: "127.0.0.1", rejectUnauthorized: false });
  try {
    return await new Promise((resolve) => {
      socket.on("secureConnect", () => resolve(serialShown(socket)));
      socket.on("error", () => resolve(undefined));
      socket.on("close", () => resolve(undefined));
    });
  } finally {
    socket.destroy();
  }
}

/** The serial number of the certificate on an open connection. */
export function serialShown(socket: TLSSocket): string {
  return socket.getPeerCertificate().serialNumber;
}
