/** Certificates for a test, made by openssl in a folder that the test removes. */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { privateFolder, removeFolder } from "./child-process.ts";

/** Paths of PEM files: an authority, and the certificates that it signed. */
export interface TlsFolder extends Disposable {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** @param names of the server, as in `DNS:localhost,IP:127.0.0.1` */
export function makeTlsFiles(names: string): TlsFolder {
  const folder = privateFolder("latchkey-tls-");
  const file = (name: string) => join(folder, name);
  const openssl = (...args: readonly string[]) => execFileSync("openssl", args, { stdio: "ignore" });
  const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  const authority = ["-CA", file("ca.pem"), "-CAkey", file("ca-key.pem")];
  openssl(
    "req",
    "-x509",
    "-days",
    "1",
    ...newKey,
    "-keyout",
    file("ca-key.pem"),
    "-out",
    file("ca.pem"),
    "-subj",
    "/CN=test",
  );
  const signed = ["-subj", "/CN=server", "-addext", `subjectAltName=${names}`, "-addext", "basicConstraints=CA:FALSE"];
  openssl(
    "req",
    "-x509",
    "-days",
    "1",
    ...newKey,
    "-keyout",
    file("key.pem"),
    "-out",
    file("cert.pem"),
    ...authority,
    ...signed,
  );
  return {
    ca: file("ca.pem"),
    cert: file("cert.pem"),
    key: file("key.pem"),
    [Symbol.dispose]: () => removeFolder(folder),
  };
}
