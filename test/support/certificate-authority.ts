/** Certificates for tests, made by openssl: an authority and the certificates that it signs. */
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { privateFolder } from "./child-process.ts";

/** A certificate and its private key, as files and as text. */
export interface Identity {
  readonly certFile: string;
  readonly keyFile: string;
  readonly cert: string;
  readonly key: string;
}

export interface Authority extends Identity {
  /** @param names of its subjectAltName, such as `DNS:localhost`; none = only the common name */
  issue(commonName: string, names?: readonly string[]): Identity;
}

/** Makes a new authority. Its files are removed with the test run. */
export function newAuthority(name: string): Authority {
  const folder = privateFolder("latchkey-certificates-");
  const authority = make(folder, name, ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]);
  const signed = ["-CA", authority.certFile, "-CAkey", authority.keyFile, "-addext", "basicConstraints=CA:FALSE"];
  return {
    ...authority,
    issue: (commonName, names = []) => {
      const alternatives = names.length === 0 ? [] : ["-addext", `subjectAltName=${names.join(",")}`];
      return make(folder, commonName, [...signed, ...alternatives]);
    },
  };
}

function make(folder: string, commonName: string, more: readonly string[]): Identity {
  const name = randomBytes(4).toString("hex");
  const [certFile, keyFile] = [join(folder, `${name}.pem`), join(folder, `${name}.key`)];
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", keyFile];
  const made = ["req", "-x509", "-days", "2", ...key, "-out", certFile, "-subj", `/CN=${commonName}`, ...more];
  execFileSync("openssl", made, { stdio: "pipe" });
  return { certFile, keyFile, cert: readFileSync(certFile, "utf8"), key: readFileSync(keyFile, "utf8") };
}
