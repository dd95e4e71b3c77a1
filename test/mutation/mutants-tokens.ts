import { mutantsOf } from "./tested-mutant.ts";

const PEOPLE = ["test/auth/people.test.ts", "test/auth/sessions.test.ts"];

/** The three tokens, what signs them, and the sessions behind them. */
export const TOKENS_MUTANTS = [
  ...mutantsOf(
    "src/auth/tokens/access-token.ts",
    ["test/auth/access-token.test.ts"],
    [
      {
        name: "tokens of another type",
        search: " || typ !== TYPE",
        replacement: "",
        why: "a token that was made for another use, under the same key, opens a session",
      },
      {
        name: "a verified token outlives its key",
        search: "(await deps.signingKeys.verifier(verified.key.kid)) === verified.key",
        replacement: "verified.key !== undefined",
        why: "a token of a revoked signing key is accepted until it expires",
      },
      {
        name: "a verified token outlives itself",
        search: "return isCurrent(verified.claims, deps.databaseClock.nowMs()) ? verified.claims : undefined;",
        replacement: "return verified.claims;",
        why: "a leaked token that was shown once works for ever",
      },
      {
        name: "headers with more members",
        search: "Object.keys(others).length > 0 || ",
        replacement: "",
        why: "a header may bring its own key, or an extension that must be understood",
      },
      {
        name: "tokens of another issuer",
        search: "      issuer: deps.issuer,\n",
        replacement: "",
        why: "two services that share a key take each other's tokens",
      },
      {
        name: "tokens for another audience",
        search: "      audience: deps.audience,\n",
        replacement: "",
        why: "a token for one service opens another",
      },
      {
        name: "tokens that never expire",
        search: "Math.floor(nowMs / 1000) * 1000 < expiresAtMs && ",
        replacement: "",
        why: "a leaked token works for ever",
      },
      {
        name: "tokens from the future",
        search: " && issuedAtMs <= nowMs + MAX_AHEAD_SECONDS * 1000",
        replacement: "",
        why: "whoever has a key for an hour makes tokens for years",
      },
      {
        name: "tokens in many spellings",
        search: 'PART.test(part) && Buffer.from(part, "base64url").toString("base64url") === part',
        replacement: "PART.test(part)",
        why: "stray bits at the end make another text of the same token",
      },
      {
        name: "members that occur twice",
        search: "JSON.stringify(value) === text ?",
        replacement: "text.length > 0 ?",
        why: "readers choose different ones",
      },
      {
        name: "tokens of another client",
        search: 'clientId !== CLIENT_ID || typeof aud !== "string"',
        replacement: 'typeof aud !== "string"',
        why: "a token of a client that is none of ours opens a session",
      },
      {
        name: "tokens for many audiences",
        search: 'clientId !== CLIENT_ID || typeof aud !== "string"',
        replacement: "clientId !== CLIENT_ID",
        why: "a token that others accept too can be replayed here by each of them",
      },
      {
        name: "tokens of any length",
        search: "if (token.length > MAX_TOKEN_LENGTH) return undefined;",
        replacement: "",
        why: "megabytes are decoded before anything is known of the caller",
      },
    ],
  ),
  ...mutantsOf("src/auth/authenticate-user.ts", PEOPLE, [
    {
      name: "sessions that have ended",
      search: "!isLive(standing, deps.databaseClock.nowMs())",
      replacement: "standing === undefined",
      why: "who logged out is still in until the token expires",
    },
    {
      name: "another's session",
      search: "standing === undefined || standing.userId !== userId",
      replacement: "standing === undefined",
      why: "a token whose session is another's is good",
    },
  ]),
  ...mutantsOf("src/auth/session.ts", PEOPLE, [
    {
      name: "disabled people act",
      search: 'standing.userState === "active" && ',
      replacement: "",
      why: "DisableUser works only where it also ended the session",
    },
    {
      name: "ended sessions act",
      search: "standing.endedAtMs === undefined && ",
      replacement: "",
      why: "Logout does nothing before the session's idle end",
    },
    {
      name: "idle sessions act",
      search: " && nowMs < standing.expiresAtMs",
      replacement: "",
      why: "a session has no end of its own",
    },
  ]),
  ...mutantsOf("src/auth/session-cache.ts", PEOPLE, [
    {
      name: "sessions served stale",
      search: "staleOkMs: 0,",
      replacement: "staleOkMs: 60_000,",
      why: "whose session ended acts on while the database is away",
    },
  ]),
  ...mutantsOf(
    "src/auth/tokens/refresh-token.ts",
    ["test/auth/refresh-token.test.ts"],
    [
      {
        name: "generations not signed",
        search: "`${sessionId}\\0${generation}\\0`",
        replacement: "`${sessionId}\\0`",
        why: "whoever holds an old refresh token makes the newest himself",
      },
      {
        name: "sessions not signed",
        search: "`${sessionId}\\0${generation}\\0`",
        replacement: "`${generation}\\0`",
        why: "only the seed tells two sessions apart",
      },
      {
        name: "the session's seed not signed",
        search: ".update(secret.seed)",
        replacement: "",
        why: "the master secret alone makes every refresh token",
      },
      {
        name: "a refresh token's checksum not looked at",
        search: "if (text.slice(-CHECKSUM_LENGTH) !== checksum62(text.slice(0, -CHECKSUM_LENGTH))) return undefined;",
        replacement: "",
        why: "junk costs a read of the database, and one token has many texts",
      },
      {
        name: "generations with leading zeros",
        search: "_([1-9][0-9]{0,8})_",
        replacement: "_([0-9]{1,9})_",
        why: "one token has many texts",
      },
    ],
  ),
  ...mutantsOf(
    "src/auth/tokens/reset-token.ts",
    ["test/auth/refresh-token.test.ts"],
    [
      {
        name: "reset tokens under the newest key only",
        search: "ring.versions.map(",
        replacement: "[ring.current].map(",
        why: "a rotation of the master key breaks links that were sent",
      },
      {
        name: "a reset token's checksum not looked at",
        search: "if (token.slice(-CHECKSUM_LENGTH) !== checksum62(token.slice(0, -CHECKSUM_LENGTH))) return undefined;",
        replacement: "",
        why: "junk costs a read of the database",
      },
    ],
  ),
  ...mutantsOf(
    "src/auth/tokens/reset-token.ts",
    ["test/rpc/operators.test.ts"],
    [
      {
        name: "reset tokens for a week",
        search: "const RESET_TOKEN_MS = DAY_MS;",
        replacement: "const RESET_TOKEN_MS = 7 * DAY_MS;",
        why: "an old e-mail opens the account",
      },
    ],
  ),
  ...mutantsOf("src/auth/refresh.ts", PEOPLE, [
    {
      name: "refresh tokens not proved",
      search: "secret === undefined || !isGenuine(deps.ring, token, secret)",
      replacement: "secret === undefined",
      why: "a session's id is enough to take it over",
    },
  ]),
  ...mutantsOf(
    "src/auth/logout.ts",
    ["test/rpc/input-people.test.ts"],
    [
      {
        name: "anybody logs anybody out",
        search: "secret === undefined || !isGenuine(deps.ring, token, secret)",
        replacement: "secret === undefined",
        why: "a session's id is enough to end it",
      },
    ],
  ),
  ...mutantsOf("src/auth/tokens/token-pair.ts", PEOPLE, [
    {
      name: "access tokens outlive their session",
      search: "Math.min(session.refreshedAtMs + deps.accessTokenMs, session.expiresAtMs)",
      replacement: "session.refreshedAtMs + deps.accessTokenMs",
      why: "verifiers elsewhere let in whose session has ended by itself",
    },
    {
      name: "all tokens of a session have one id",
      search: "`${session.id}.${session.generation}`",
      replacement: "session.id",
      why: "verifiers that remember ids refuse the second token, or can't refuse the first",
    },
  ]),
  ...mutantsOf(
    "src/auth/signing/signing-key.ts",
    ["test/auth/signing-keys.test.ts"],
    [
      {
        name: "keys sign before others know them",
        search: 'key.activatesAtMs <= nowMs ? "active" : "next"',
        replacement: '"active"',
        why: "verifiers that keep the key set refuse good tokens",
      },
    ],
  ),
  ...mutantsOf(
    "src/auth/signing/signing-key.ts",
    ["test/auth/access-token.test.ts"],
    [
      {
        name: "a sealed key's algorithm not sealed",
        search: "\\0${kid}\\0${algorithm}`",
        replacement: "\\0${kid}`",
        why: "who writes to the database chooses what a key is used for",
      },
      {
        name: "one nonce for all sealed keys",
        search: "const nonce = randomBytes(NONCE_BYTES);",
        replacement: "const nonce = Buffer.alloc(NONCE_BYTES);",
        why: "GCM gives its texts and its own key away where a nonce is used twice",
      },
    ],
  ),
  ...mutantsOf(
    "src/auth/signing/signing-keys.ts",
    ["test/auth/signing-keys.test.ts"],
    [
      {
        name: "news of signing keys not heard",
        search: 'if (change.kind === "SIGNING_KEY") this.clear();',
        replacement: "",
        why: "tokens of a revoked key are good as long as the feed proves the copy fresh",
      },
      {
        name: "signing keys believed for ever",
        search: "return isFresh(this.#options.clock, Math.max(keySet.readAtMs, this.#options.feed.freshAtMs));",
        replacement: "return keySet.readAtMs > this.#options.feed.freshAtMs;",
        why: "without the feed a revoked key is good for as long as the process lives",
      },
      {
        name: "a read for each made-up key id",
        search: "const UNKNOWN_KID_RELOAD_MS = 1000;",
        replacement: "const UNKNOWN_KID_RELOAD_MS = 0;",
        why: "strangers make the service hammer its database",
      },
      {
        name: "retired keys verify for ever",
        search: "(kept.retiresAtMs ?? Number.POSITIVE_INFINITY) > goneBeforeMs",
        replacement: "kept.kid.length > goneBeforeMs * 0",
        why: "a key that leaks after its time still makes tokens",
      },
      {
        name: "keys that can't be opened taken for unknown",
        search: "if (keySet.unreadable.has(kid)) throw masterKeyMissing();",
        replacement: "",
        why: "good tokens are refused where only a master key is missing",
      },
    ],
  ),
];
