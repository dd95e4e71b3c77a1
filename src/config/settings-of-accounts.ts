import { setting } from "./setting.ts";
import { bool, days, integer, issuer, list, oneOf, scopeGlob, seconds, text } from "./values.ts";

export const ACCOUNTS = {
  registrationOpen: setting(
    "LATCHKEY_REGISTRATION",
    "open",
    (value) => oneOf("open", "closed")(value) === "open",
    "`open`: anyone may register. `closed`: operators create accounts.",
  ),
  userScopes: setting(
    "LATCHKEY_USER_SCOPES",
    undefined,
    list(scopeGlob),
    "Globs of scopes that new users may give their keys. Without it: `*` in development, none in production.",
  ),
} as const;

export const PASSWORDS = {
  passwordMin: setting(
    "LATCHKEY_PASSWORD_MIN_CODE_POINTS",
    "15",
    integer(8, 256),
    "Shortest password. NIST SP 800-63B-4 requires 15 if the password is the only factor.",
  ),
  argon2MemoryKib: setting(
    "LATCHKEY_ARGON2_MEMORY_KIB",
    "19456",
    integer(1024, 4_194_304),
    "Memory of one password hash.",
  ),
  argon2Passes: setting("LATCHKEY_ARGON2_PASSES", "2", integer(1, 100), "Passes of one password hash."),
  hashesPerAddress: setting(
    "LATCHKEY_HASHES_PER_ADDRESS",
    "30",
    integer(1, 100_000),
    "Maximum password hashes that one client address may cause in a minute, with correct passwords too. An IPv6 /56 may cause twice as many, an IPv6 /48 or an IPv4 /24 four times as many. Raise it only if many people log in from behind one address.",
  ),
} as const;

/** The issuer of a service on a developer's own machine. */
export const DEFAULT_ISSUER = "http://localhost:8080";

export const ACCESS_TOKENS = {
  issuer: setting(
    "LATCHKEY_ISSUER",
    DEFAULT_ISSUER,
    issuer,
    "`iss` of access tokens. Verifiers compare it letter by letter. Production requires it, as an https URL.",
  ),
  allowHttpIssuer: setting(
    "LATCHKEY_ALLOW_HTTP_ISSUER",
    "false",
    bool,
    "In production: an http issuer, because verifiers reach this service by it inside a private network.",
  ),
  audience: setting("LATCHKEY_AUDIENCE", "latchkey", text, "`aud` of access tokens."),
  accessTokenAlgorithm: setting(
    "LATCHKEY_ACCESS_TOKEN_ALGORITHM",
    "EdDSA",
    oneOf("EdDSA", "ES256"),
    "Algorithm of new signing keys.",
  ),
  signingKeyMs: setting(
    "LATCHKEY_SIGNING_KEY_DAYS",
    "90",
    days(1, 3650),
    "How long a key signs access tokens before the service replaces it.",
  ),
  accessTokenMs: setting("LATCHKEY_ACCESS_TOKEN_SECONDS", "1800", seconds(60, 86_400), "Life of an access token."),
  refreshIdleMs: setting(
    "LATCHKEY_REFRESH_IDLE_SECONDS",
    "604800",
    seconds(60, 31_536_000),
    "A session ends after this time without a refresh.",
  ),
  refreshAbsoluteMs: setting(
    "LATCHKEY_REFRESH_ABSOLUTE_SECONDS",
    "2592000",
    seconds(60, 31_536_000),
    "A session ends this time after its login.",
  ),
  refreshGraceMs: setting(
    "LATCHKEY_REFRESH_GRACE_SECONDS",
    "10",
    seconds(0, 300),
    "How long a refresh token that was just replaced still returns its successor.",
  ),
} as const;
