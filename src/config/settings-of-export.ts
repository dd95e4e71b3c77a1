import { isAbsolute } from "node:path";
import { setting } from "./setting.ts";
import { bool, isLoopback, list } from "./values.ts";

export const EXPORT = {
  auditExport: setting(
    "LATCHKEY_AUDIT_EXPORT",
    undefined,
    auditLines,
    "Where audit events go as JSON lines: `stdout`, or the absolute path of a file. Without it: nowhere.",
  ),
  webhookUrl: setting(
    "LATCHKEY_WEBHOOK_URL",
    undefined,
    webhookUrl,
    "URL that gets each audit event as a signed POST (Standard Webhooks). In production it must be https. Without it: none.",
  ),
  webhookSecrets: setting(
    "LATCHKEY_WEBHOOK_SECRETS",
    "",
    list(webhookSecret),
    "The secret that signs webhooks: `whsec_` and the base64 of 24 to 64 bytes. Two, comma-separated, both sign, while the receiver changes from one to the other.",
  ),
  allowHttpWebhook: setting(
    "LATCHKEY_ALLOW_HTTP_WEBHOOK",
    "false",
    bool,
    "In production: send webhooks to another machine by plain http, because the network between is trusted.",
  ),
} as const;

/** Where audit events are exported to. */
export interface AuditExportConfig {
  /** Path of the file of JSON lines, or `stdout`; undefined = none. */
  readonly lines: string | undefined;
  readonly webhook: { readonly url: string; readonly secrets: readonly string[] } | undefined;
}

/** The settings of the export, as far as they could be read. */
interface ExportValues {
  readonly auditExport?: string | undefined;
  readonly webhookUrl?: string | undefined;
  readonly webhookSecrets?: readonly string[] | undefined;
  readonly allowHttpWebhook?: boolean | undefined;
  readonly workers?: number | undefined;
  readonly production?: boolean | undefined;
}

export function auditExportOf({ auditExport, webhookUrl, webhookSecrets = [] }: ExportValues): AuditExportConfig {
  const webhook = webhookUrl === undefined ? undefined : Object.freeze({ url: webhookUrl, secrets: webhookSecrets });
  return Object.freeze({ lines: auditExport, webhook });
}

/** A line for each combination of the export's settings that can't work. */
export function exportFaults(values: ExportValues): string[] {
  const { auditExport, webhookUrl, webhookSecrets, workers = 1 } = values;
  const faults = values.production ? webhookPlaintextFaults(values) : [];
  if (auditExport === "stdout" && workers > 1) {
    faults.push(
      "LATCHKEY_AUDIT_EXPORT: lines of several processes could mix on standard output; name a file, or set LATCHKEY_WORKERS=1",
    );
  }
  if (webhookSecrets === undefined) return faults;
  if (webhookUrl !== undefined && webhookSecrets.length === 0) {
    faults.push(
      'LATCHKEY_WEBHOOK_SECRETS: must be set with LATCHKEY_WEBHOOK_URL; make one with: echo "whsec_$(openssl rand -base64 32)"',
    );
  }
  if (webhookSecrets.length > MOST_SECRETS) {
    faults.push(`LATCHKEY_WEBHOOK_SECRETS: must be at most ${MOST_SECRETS} secrets`);
  }
  return faults;
}

/** A line for a webhook that production refuses, because others on the network could read it. */
function webhookPlaintextFaults({ webhookUrl, allowHttpWebhook }: ExportValues): string[] {
  if (webhookUrl === undefined || allowHttpWebhook) return [];
  const { protocol, hostname } = new URL(webhookUrl);
  if (protocol === "https:" || isLoopback(hostname.replace(/^\[|\]$/g, ""))) return [];
  return [
    "LATCHKEY_WEBHOOK_URL: must be https in production, or LATCHKEY_ALLOW_HTTP_WEBHOOK=true in a private network",
  ];
}

/** One that signs, and one that the receiver still knows. */
const MOST_SECRETS = 2;

function auditLines(value: string): string {
  if (value !== "stdout" && !isAbsolute(value)) throw new Error("must be stdout or the absolute path of a file");
  return value;
}

/** A user or password is refused: it would be a secret in a place that is not treated as one. */
function webhookUrl(value: string): string {
  const parsed = URL.canParse(value) ? new URL(value) : undefined;
  const isHttp = parsed?.protocol === "https:" || parsed?.protocol === "http:";
  if (!isHttp || value.includes("#") || parsed.username !== "" || parsed.password !== "") {
    throw new Error("must be an https or http URL without fragment, user and password");
  }
  return parsed.href;
}

/** Standard Webhooks: 24 to 64 bytes. */
function webhookSecret(value: string): string {
  const wanted =
    'must be whsec_ and the base64 of 24 to 64 bytes; make one with: echo "whsec_$(openssl rand -base64 32)"';
  const base64 = /^whsec_([A-Za-z0-9+/]+={0,2})$/.exec(value)?.[1];
  const bytes = Buffer.from(base64 ?? "", "base64");
  if (bytes.toString("base64") !== base64 || bytes.length < 24 || bytes.length > 64) throw new Error(wanted);
  return value;
}
