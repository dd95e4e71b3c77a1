/** Certificates for tests, made by openssl: an authority and the certificates that it signs. */
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
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
  /**
   * @param names of its subjectAltName, such as `DNS:localhost`; none = only the common name
   * @param more arguments of `openssl req`
   */
  issue(commonName: string, names?: readonly string[], more?: readonly string[]): Identity;
  /** A certificate that is valid between two times, such as `20200101000000Z`. */
  issueFor(between: readonly [start: string, end: string], name: string): Identity;
}

/** Makes a new authority, signed by itself or by its parent. Its files are removed with the test run. */
export function newAuthority(name: string, parent?: Identity): Authority {
  const folder = privateFolder("latchkey-certificates-");
  const signer = parent === undefined ? [] : ["-CA", parent.certFile, "-CAkey", parent.keyFile];
  const isCa = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign"];
  const authority = make(folder, name, [...signer, ...(parent === undefined ? isCa.slice(2) : isCa)]);
  const signed = ["-CA", authority.certFile, "-CAkey", authority.keyFile, "-addext", "basicConstraints=CA:FALSE"];
  return {
    ...authority,
    issue: (commonName, names = [], more = []) => {
      const alternatives = names.length === 0 ? [] : ["-addext", `subjectAltName=${names.join(",")}`];
      return make(folder, commonName, [...signed, ...alternatives, ...more]);
    },
    issueFor: (between, name) => makeBetween(folder, authority, between, name),
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

/** `openssl req` of version 3.0 can't set both times, but `openssl ca` can. */
function makeBetween(folder: string, { certFile, keyFile }: Identity, between: readonly string[], name: string) {
  const identity = make(folder, "x", []);
  const file = (end: string) => `${identity.certFile}.${end}`;
  writeFileSync(file("index"), "");
  writeFileSync(
    file("conf"),
    `[ca]\ndefault_ca=d\n[d]\ndatabase=${file("index")}\nnew_certs_dir=${folder}\nrand_serial=yes\ndefault_md=sha256
policy=p\nunique_subject=no\nx509_extensions=e\n[p]\ncommonName=optional\n[e]\nsubjectAltName=${name}\n`,
  );
  const [start, end] = between as [string, string];
  const request = ["req", "-new", "-key", identity.keyFile, "-subj", "/CN=x", "-out", file("csr")];
  const times = ["-startdate", start, "-enddate", end];
  const signer = ["-cert", certFile, "-keyfile", keyFile, "-config", file("conf")];
  execFileSync("openssl", request, { stdio: "pipe" });
  execFileSync(
    "openssl",
    ["ca", "-batch", "-notext", ...signer, "-in", file("csr"), "-out", identity.certFile, ...times],
    {
      stdio: "pipe",
    },
  );
  return { ...identity, cert: readFileSync(identity.certFile, "utf8") };
}
