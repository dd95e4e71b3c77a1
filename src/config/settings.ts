import { ACCESS_TOKENS, ACCOUNTS, PASSWORDS } from "./settings-of-accounts.ts";
import { EXPORT } from "./settings-of-export.ts";
import { API_KEYS, CHANGES, ENVOY } from "./settings-of-keys.ts";
import { PORTS, PROCESSES, SECRETS } from "./settings-of-processes.ts";
import { POSTGRES, REDIS } from "./settings-of-stores.ts";

/** Every setting by section, in the order of docs/CONFIG.md, which is generated from this table. */
export const SETTING_SECTIONS = {
  Processes: PROCESSES,
  "Ports, TLS and proxies": PORTS,
  PostgreSQL: POSTGRES,
  Redis: REDIS,
  "Master keys": SECRETS,
  "API keys and their limits": API_KEYS,
  "Envoy's rate limits": ENVOY,
  "Changes and the audit trail": CHANGES,
  "Export of the audit trail": EXPORT,
  Accounts: ACCOUNTS,
  Passwords: PASSWORDS,
  "Access tokens and sessions": ACCESS_TOKENS,
} as const;

/** The same settings, by the name of their value. */
export const SETTINGS = {
  ...PROCESSES,
  ...PORTS,
  ...POSTGRES,
  ...REDIS,
  ...SECRETS,
  ...API_KEYS,
  ...ENVOY,
  ...CHANGES,
  ...EXPORT,
  ...ACCOUNTS,
  ...PASSWORDS,
  ...ACCESS_TOKENS,
} as const;
