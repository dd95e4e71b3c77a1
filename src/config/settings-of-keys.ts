import { setting } from "./setting.ts";
import { days, environments, integer, text, tiers, word } from "./values.ts";

export const API_KEYS = {
  tiers: setting(
    "LATCHKEY_TIERS",
    "basic:20/1000,pro:60/5000,enterprise:300/50000",
    tiers,
    "Tiers from lowest to highest, `name:per-minute/per-day`; `-` for no limit. New accounts get the first one.",
  ),
  keyPrefix: setting(
    "LATCHKEY_KEY_PREFIX",
    "kit",
    word,
    "First word of every key. A change makes all keys with the former word INVALID.",
  ),
  environments: setting(
    "LATCHKEY_ENVIRONMENTS",
    "live,test",
    environments,
    "Second word of API keys; the first listed is the default. A change makes all keys with the former word INVALID.",
  ),
  keysPerOwner: setting(
    "LATCHKEY_KEYS_PER_OWNER",
    "100",
    integer(1, 1_000_000),
    "Maximum keys of one owner. Keys that ended within the last 24 h count too.",
  ),
  cachedKeys: setting(
    "LATCHKEY_CACHED_KEYS",
    "100000",
    integer(1000, 10_000_000),
    "Maximum keys that a process keeps in memory. Most take about 1 KiB. All together take at most 1.5 KiB times this number, which keys with many scopes or much metadata reach sooner. The least recently used keys are dropped first.",
  ),
} as const;

export const ENVOY = {
  rateLimitsFile: setting(
    "LATCHKEY_RATE_LIMITS_FILE",
    undefined,
    text,
    "JSON file with the limits of the descriptors that Envoy's rate limit filter sends, see ENVOY.md. Without it only keys, and descriptors that bring a limit, are limited. The service reads it again at SIGHUP.",
  ),
} as const;

export const CHANGES = {
  changesPerMinute: setting(
    "LATCHKEY_CHANGES_PER_MINUTE",
    "600",
    integer(1, 1_000_000),
    "Maximum calls that change something (a profile, a session, a key) by one session of a user in any minute. All sessions of the user together may make twice that. Processes that share a Redis count together.",
  ),
  serviceChangesPerMinute: setting(
    "LATCHKEY_SERVICE_CHANGES_PER_MINUTE",
    "6000",
    integer(1, 1_000_000),
    "The same for one service credential. Raise it for a credential that changes many keys at once.",
  ),
  auditKeepMs: setting("LATCHKEY_AUDIT_DAYS", "400", days(1, 36_500), "How long audit events are kept."),
} as const;
