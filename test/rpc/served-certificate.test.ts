import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { type CertificatePair, ServedCertificate } from "../../src/rpc/connections/served-certificate.ts";
import { privateFolder, removeFolder } from "../support/child-process.ts";
import { mountVersions } from "../support/kubernetes-volume.ts";
import { type CertificateFiles, makeCertificate } from "../support/self-signed.ts";

const stock = privateFolder("latchkey-certificates-");
const [one, two, rsa] = [
  makeCertificate(stock, "one"),
  makeCertificate(stock, "two"),
  makeCertificate(stock, "rsa", "rsa"),
];
afterAll(() => removeFolder(stock));

let folder: string;
let live: CertificateFiles;
let now: number;
beforeEach(() => {
  folder = privateFolder("latchkey-certificate-");
  live = { certFile: join(folder, "tls.crt"), keyFile: join(folder, "tls.key") };
  put(one);
  now = Date.now();
  return () => removeFolder(folder);
});

function put({ certFile, keyFile }: CertificateFiles): void {
  copyFileSync(certFile, live.certFile);
  copyFileSync(keyFile, live.keyFile);
}

/** A served certificate. The test runs each look at the files itself. */
async function served(files: CertificateFiles = live) {
  const lines: string[] = [];
  const log = (level: string) => (message: string, fields: object) =>
    lines.push(`${level} ${message} ${JSON.stringify(fields)}`);
  let next: (() => void) | undefined;
  const certificate = new ServedCertificate({
    files,
    clock: { nowMs: () => now },
    timers: {
      after: (_ms, run) => {
        next = run;
        return () => {
          next = undefined;
        };
      },
    },
    log: { info: log("info"), warn: log("warn"), error: log("error"), flush: () => {} } as never,
  });
  const used: CertificatePair[] = [await certificate.load()];
  certificate.watch((pair) => used.push(pair));
  async function look(): Promise<void> {
    const run = next!;
    next = undefined;
    run();
    await expect.poll(() => next, { timeout: 10_000, interval: 2 }).toBeDefined();
  }
  const certs = () => used.map(({ cert }) => String(cert));
  return { certificate, certs, lines, look, waits: () => next !== undefined };
}

const text = (file: string) => readFileSync(file, "utf8");

describe("a certificate", () => {
  it("is read again when its files are overwritten", async () => {
    const { certs, look, lines } = await served();
    await look();
    expect(certs()).toHaveLength(1);
    put(two);
    await look();
    expect(certs()).toEqual([text(one.certFile), text(two.certFile)]);
    expect(lines.at(-1)).toMatch(/^info the TLS certificate is replaced.*"expires":"\d{4}-.*Z"/);
  });

  it("is read again when other files are renamed onto its files", async () => {
    const { certs, look } = await served();
    copyFileSync(two.certFile, join(folder, "new.crt"));
    copyFileSync(two.keyFile, join(folder, "new.key"));
    renameSync(join(folder, "new.crt"), live.certFile);
    renameSync(join(folder, "new.key"), live.keyFile);
    await look();
    expect(certs().at(-1)).toBe(text(two.certFile));
  });

  it("is read again when the symbolic link of a Kubernetes volume changes", async () => {
    const { replace } = mountVersions(folder, [one, two]);
    rmSync(live.certFile);
    rmSync(live.keyFile);
    symlinkSync("..data/tls.crt", live.certFile);
    symlinkSync("..data/tls.key", live.keyFile);
    const { certs, look } = await served();
    replace();
    rmSync(join(folder, "..1"), { recursive: true });
    await look();
    expect(certs()).toEqual([text(one.certFile), text(two.certFile)]);
  });

  it("is read again only after both files were replaced, without a warning in between", async () => {
    const { certs, look, lines } = await served();
    copyFileSync(two.certFile, live.certFile);
    await look();
    expect(certs()).toHaveLength(1);
    copyFileSync(two.keyFile, live.keyFile);
    await look();
    expect(certs()).toHaveLength(2);
    expect(lines.filter((line) => line.startsWith("warn"))).toEqual([]);
  });

  it("is read again at once at a signal, and the log reports the result in any case", async () => {
    const { certificate, certs, lines } = await served();
    await certificate.readAgain();
    expect(lines.at(-1)).toMatch(/^info the TLS certificate is unchanged/);
    put(two);
    await certificate.readAgain();
    expect(certs()).toHaveLength(2);
    copyFileSync(one.keyFile, live.keyFile);
    await certificate.readAgain();
    expect(lines.at(-1)).toMatch(/^warn .*is not the key of the certificate/);
    expect(certs()).toHaveLength(2);
  });

  it("is no longer read again after a stop", async () => {
    const { certificate, certs, waits } = await served();
    put(two);
    certificate.stop();
    await certificate.readAgain();
    expect([certs().length, waits()]).toEqual([1, false]);
  });
});

describe("files that cannot be served", () => {
  const encrypted = () => {
    const words = ["ec", "-in", one.keyFile, "-aes256", "-passout", "pass:secret", "-out", live.keyFile];
    execFileSync("openssl", words, { stdio: "pipe" });
  };
  const expired = () => {
    put(two);
    now += 48 * 3_600_000;
  };
  it.each<[what: string, spoil: () => void, told: RegExp]>([
    ["no certificate", () => writeFileSync(live.certFile, "nonsense"), /LATCHKEY_TLS_CERT_FILE: \S+tls.crt must hold/],
    ["half a certificate", () => writeFileSync(live.certFile, text(one.certFile).slice(0, 300)), /CERT_FILE/],
    [
      "half a chain",
      () => writeFileSync(live.certFile, text(one.certFile) + text(two.certFile).slice(0, 300)),
      /CERT_FILE/,
    ],
    ["no key", () => writeFileSync(live.keyFile, ""), /LATCHKEY_TLS_KEY_FILE: \S+tls.key must hold a private key/],
    ["a key with a passphrase", encrypted, /KEY_FILE: the key in \S+ is encrypted; store it without a passphrase/],
    ["another key", () => copyFileSync(two.keyFile, live.keyFile), /KEY_FILE: \S+ is not the key of the certificate/],
    ["a key of another type", () => copyFileSync(rsa.keyFile, live.keyFile), /is not the key of the certificate/],
    ["no file", () => rmSync(live.keyFile), /KEY_FILE: \S+ can't be read \(ENOENT\)/],
    ["a folder", () => rmSync(live.certFile) ?? mkdirSync(live.certFile), /CERT_FILE: \S+ can't be read \(EISDIR\)/],
    ["an expired certificate", expired, /CERT_FILE: .* has expired; renew it/],
  ])("keep the previous pair in use and are reported once, at the second look: %s", async (_what, spoil, told) => {
    const { certificate, certs, look, lines } = await served();
    spoil();
    const before = lines.length;
    for (const seen of [0, 1, 1]) {
      await look();
      expect(lines.slice(before)).toHaveLength(seen);
    }
    expect(lines.at(-1)).toMatch(told);
    expect(lines.at(-1)).toMatch(/^warn the TLS certificate can't be replaced; the one before serves on/);
    expect(certs()).toHaveLength(1);
    expect(certificate.expiresAtMs).toBeGreaterThan(Date.now());
    // The next valid pair is served without a restart.
    now = Date.now();
    rmSync(live.certFile, { recursive: true });
    put(two);
    await look();
    expect(certs()).toHaveLength(2);
  });

  it.each<[what: string, spoil: () => void, told: RegExp]>([
    ["a key of another type", () => copyFileSync(rsa.keyFile, live.keyFile), /is not the key of the certificate/],
    ["no file", () => rmSync(live.certFile), /CERT_FILE: \S+ can't be read \(ENOENT\)/],
  ])("stop the start: %s", async (_what, spoil, told) => {
    spoil();
    await expect(served()).rejects.toThrow(told);
  });
});
