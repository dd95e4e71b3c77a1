import { describe, expect, it } from "vitest";
import { ConfigError, type Environment, readConfig } from "../../src/config/config.ts";

const secretOf = (bytes: number) => `whsec_${Buffer.alloc(bytes, "s3cr3t").toString("base64")}`;
const URL_AND_SECRET = {
  LATCHKEY_WEBHOOK_URL: "https://audit.example.com/in?tenant=7",
  LATCHKEY_WEBHOOK_SECRETS: secretOf(32),
};
const PRODUCTION = { NODE_ENV: "production" };

/** The faults about the export; other settings of production are missing here. */
function faultsOf(env: Environment): readonly string[] {
  try {
    readConfig(env);
    return [];
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.faults.filter((fault) => /LATCHKEY_(AUDIT_EXPORT|WEBHOOK|ALLOW_HTTP_WEBHOOK)/.test(fault));
  }
}

describe("the settings of the export", () => {
  it("export nothing by default", () => {
    expect(readConfig({}).auditExport).toEqual({ lines: undefined, webhook: undefined });
    const empty = { LATCHKEY_AUDIT_EXPORT: "", LATCHKEY_WEBHOOK_URL: "", LATCHKEY_WEBHOOK_SECRETS: "" };
    expect(readConfig(empty).auditExport).toEqual({ lines: undefined, webhook: undefined });
  });

  it("name a file or standard output, and a webhook with one secret or two", () => {
    const secrets = `${secretOf(24)}, ${secretOf(64)}`;
    const env = { ...URL_AND_SECRET, LATCHKEY_WEBHOOK_SECRETS: secrets, LATCHKEY_AUDIT_EXPORT: "/var/log/audit.jsonl" };
    expect(readConfig(env).auditExport).toEqual({
      lines: "/var/log/audit.jsonl",
      webhook: { url: URL_AND_SECRET.LATCHKEY_WEBHOOK_URL, secrets: secrets.split(", ") },
    });
    expect(readConfig({ LATCHKEY_AUDIT_EXPORT: "stdout" }).auditExport.lines).toBe("stdout");
  });

  it.each<[what: string, env: Environment, fault: RegExp]>([
    [
      "a relative path",
      { LATCHKEY_AUDIT_EXPORT: "audit.jsonl" },
      /^LATCHKEY_AUDIT_EXPORT: must be stdout or the absolute/,
    ],
    ["a word", { LATCHKEY_AUDIT_EXPORT: "file" }, /^LATCHKEY_AUDIT_EXPORT: must be stdout or the absolute/],
    [
      "stdout of workers",
      { LATCHKEY_AUDIT_EXPORT: "stdout", LATCHKEY_WORKERS: "2" },
      /^LATCHKEY_AUDIT_EXPORT: lines of/,
    ],
    ["no URL", { ...URL_AND_SECRET, LATCHKEY_WEBHOOK_URL: "audit" }, /^LATCHKEY_WEBHOOK_URL: must be an https or http/],
    ["ftp", { ...URL_AND_SECRET, LATCHKEY_WEBHOOK_URL: "ftp://a/" }, /^LATCHKEY_WEBHOOK_URL: must be an https or http/],
    [
      "a password",
      { ...URL_AND_SECRET, LATCHKEY_WEBHOOK_URL: "https://u:p@a/" },
      /^LATCHKEY_WEBHOOK_URL: must be an https/,
    ],
    [
      "a fragment",
      { ...URL_AND_SECRET, LATCHKEY_WEBHOOK_URL: "https://a/#b" },
      /^LATCHKEY_WEBHOOK_URL: must be an https/,
    ],
    ["no secret", { ...URL_AND_SECRET, LATCHKEY_WEBHOOK_SECRETS: "" }, /^LATCHKEY_WEBHOOK_SECRETS: must be set with/],
    ["a short secret", { LATCHKEY_WEBHOOK_SECRETS: secretOf(23) }, /^LATCHKEY_WEBHOOK_SECRETS: must be whsec_ and/],
    ["a long secret", { LATCHKEY_WEBHOOK_SECRETS: secretOf(65) }, /^LATCHKEY_WEBHOOK_SECRETS: must be whsec_ and/],
    ["a bare secret", { LATCHKEY_WEBHOOK_SECRETS: secretOf(32).slice(6) }, /^LATCHKEY_WEBHOOK_SECRETS: must be whsec_/],
    [
      "three secrets",
      { LATCHKEY_WEBHOOK_SECRETS: Array(3).fill(secretOf(32)).join() },
      /^LATCHKEY_WEBHOOK_SECRETS: .* most 2/,
    ],
  ])("refuse %s in one line, which repeats no value", (_what, env, fault) => {
    const faults = faultsOf(env);
    expect(faults).toHaveLength(1);
    expect(faults[0]).toMatch(fault);
    expect(faults[0]).not.toContain(secretOf(65).slice(6, 30));
  });

  it("send webhooks by plain http in production only to this machine, or where it is allowed", () => {
    const to = (url: string, more: Environment = {}) =>
      faultsOf({ ...PRODUCTION, ...URL_AND_SECRET, LATCHKEY_WEBHOOK_URL: url, ...more });
    expect(to("http://audit.internal/")).toEqual([expect.stringMatching(/^LATCHKEY_WEBHOOK_URL: must be https/)]);
    expect(to("http://audit.internal/", { LATCHKEY_ALLOW_HTTP_WEBHOOK: "true" })).toEqual([]);
    for (const url of ["https://audit.internal/", "http://127.0.0.1:9/", "http://[::1]:9/", "http://localhost/"]) {
      expect(to(url)).toEqual([]);
    }
    expect(faultsOf({ ...URL_AND_SECRET, LATCHKEY_WEBHOOK_URL: "http://audit.internal/" })).toEqual([]);
  });
});
