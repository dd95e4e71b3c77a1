import { createHmac, createPublicKey, generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";
import { CompactEncrypt, exportSPKI, importJWK, type JWTPayload, jwtVerify, SignJWT } from "jose";
import { beforeAll, describe, expect, it } from "vitest";
import {
  newSigningKey,
  type SigningAlgorithm,
  type SigningKey,
  unsealSigningKey,
} from "../../src/auth/signing/signing-key.ts";
import {
  signAccessToken,
  VerifiedTokens,
  type VerifyAccessTokenDeps,
  verifyAccessToken,
} from "../../src/auth/tokens/access-token.ts";
import { DatabaseClock } from "../../src/changes/database-clock.ts";
import { KeyRing } from "../../src/lib/key-ring.ts";
import { StandingClock } from "../support/shifted-clock.ts";

const ring = new KeyRing([{ version: 1, bytes: randomBytes(32) }]);
/** A clock that stands still, so that a test of a token's life takes no time itself. */
const clock = new StandingClock();
const ISSUER = "https://latchkey.example";
const AUDIENCE = "latchkey";
const USER = "usr_0123456789abcdef";
const SESSION = "ses_0123456789abcdef";

async function newKey(algorithm: SigningAlgorithm = "EdDSA"): Promise<SigningKey> {
  return (await unsealSigningKey(ring, await newSigningKey(ring, algorithm))) as SigningKey;
}

/** A service with these keys, the first of which signs. */
function depsWith(...keys: [SigningKey, ...SigningKey[]]): VerifyAccessTokenDeps {
  return {
    signingKeys: {
      signer: async () => keys[0],
      verifier: async (kid) => keys.find((key) => key.kid === kid),
    },
    databaseClock: new DatabaseClock(clock),
    issuer: ISSUER,
    audience: AUDIENCE,
    verifiedTokens: new VerifiedTokens(),
  };
}

function claimsAt(nowMs: number) {
  const issuedAtMs = Math.floor(nowMs / 1000) * 1000;
  return {
    userId: USER,
    sessionId: SESSION,
    tokenId: `${SESSION}.1`,
    issuedAtMs,
    expiresAtMs: issuedAtMs + 1_800_000,
  };
}

describe.each<SigningAlgorithm>(["EdDSA", "ES256"])("an access token signed with %s", (algorithm) => {
  it("names the user and the session until it expires", async () => {
    const deps = depsWith(await newKey(algorithm));
    const claims = claimsAt(clock.nowMs());
    const token = await signAccessToken(deps, claims);
    expect(await verifyAccessToken(deps, token)).toEqual(claims);
    clock.advance(1_799_000);
    expect(await verifyAccessToken(deps, token)).toEqual(claims);
    clock.advance(1_000);
    expect(await verifyAccessToken(deps, token)).toBeUndefined();
  });

  it("can be verified with the published key, and has exactly the members of RFC 9068", async () => {
    const key = await newKey(algorithm);
    const token = await signAccessToken(depsWith(key), claimsAt(clock.nowMs()));
    const verified = await jwtVerify(token, await importJWK(key.publicJwk), { currentDate: new Date(clock.nowMs()) });
    expect(verified.protectedHeader).toEqual({ alg: algorithm, typ: "at+jwt", kid: key.kid });
    expect(Object.keys(verified.payload).toSorted()).toEqual(
      ["aud", "client_id", "exp", "iat", "iss", "jti", "sid", "sub"].toSorted(),
    );
    expect(key.publicJwk).not.toHaveProperty("d");
  });
});

describe("an access token that was verified before", () => {
  it("is remembered with its key, and its claims are the same", async () => {
    const key = await newKey();
    const deps = depsWith(key);
    const token = await signAccessToken(deps, claimsAt(clock.nowMs()));
    const claims = await verifyAccessToken(deps, token);
    expect(deps.verifiedTokens.get(token)).toEqual({ key, claims });
    expect(await verifyAccessToken(deps, token)).toBe(claims);
  });

  it("is not valid while its key is not in the set", async () => {
    const [signing, other] = [await newKey(), await newKey()];
    const deps = depsWith(signing);
    const token = await signAccessToken(deps, claimsAt(clock.nowMs()));
    expect(await verifyAccessToken(deps, token)).toBeDefined();
    const { verifiedTokens } = deps;
    expect(await verifyAccessToken({ ...depsWith(other), verifiedTokens }, token)).toBeUndefined();
    expect(await verifyAccessToken({ ...depsWith(signing), verifiedTokens }, token)).toBeDefined();
  });

  it("is not valid under another key with the same id", async () => {
    const [signing, other] = [await newKey(), await newKey()];
    const deps = depsWith(signing);
    const token = await signAccessToken(deps, claimsAt(clock.nowMs()));
    expect(await verifyAccessToken(deps, token)).toBeDefined();
    const { verifiedTokens } = deps;
    const replaced = { ...depsWith({ ...other, kid: signing.kid }), verifiedTokens };
    expect(await verifyAccessToken(replaced, token)).toBeUndefined();
  });

  it("is not valid if the clock turns out to be more than 10 s behind its issue", async () => {
    const deps = depsWith(await newKey());
    const nowMs = clock.nowMs();
    const token = await signAccessToken(deps, claimsAt(nowMs));
    expect(await verifyAccessToken(deps, token)).toBeDefined();
    const behind = (ms: number) => ({ ...deps, databaseClock: { nowMs: () => nowMs - ms } as DatabaseClock });
    expect(await verifyAccessToken(behind(9000), token)).toBeDefined();
    expect(await verifyAccessToken(behind(12_000), token)).toBeUndefined();
  });

  it("lends nothing to a token that differs in one character", async () => {
    const deps = depsWith(await newKey());
    const token = await signAccessToken(deps, claimsAt(clock.nowMs()));
    expect(await verifyAccessToken(deps, token)).toBeDefined();
    for (const at of [5, Math.floor(token.length / 2), token.length - 2]) {
      const changed = `${token.slice(0, at)}${token[at] === "A" ? "B" : "A"}${token.slice(at + 1)}`;
      expect(await verifyAccessToken(deps, changed)).toBeUndefined();
      expect(deps.verifiedTokens.get(changed)).toBeUndefined();
    }
  });
});

describe("the verification of an access token", () => {
  let ours: SigningKey;
  let next: SigningKey;
  let theirs: SigningKey;
  let deps: VerifyAccessTokenDeps;
  const now = () => Math.floor(clock.nowMs() / 1000);

  beforeAll(async () => {
    ours = await newKey();
    next = await newKey("ES256");
    theirs = await newKey();
    deps = depsWith(ours, next);
  });

  const encode = (value: unknown) =>
    Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");

  function payload(change: Record<string, unknown> = {}): JWTPayload {
    const all = {
      sid: SESSION,
      client_id: "latchkey",
      iss: ISSUER,
      aud: AUDIENCE,
      sub: USER,
      jti: `${SESSION}.1`,
      iat: now(),
      exp: now() + 1800,
      ...change,
    };
    return JSON.parse(JSON.stringify(all));
  }

  /** A token that differs from a valid one only by these changes. `undefined` leaves a member out. */
  function signed(
    change: Record<string, unknown> = {},
    header: Record<string, unknown> = {},
    key: KeyObject = ours.privateKey,
  ): Promise<string> {
    const full = JSON.parse(JSON.stringify({ alg: "EdDSA", typ: "at+jwt", kid: ours.kid, ...header }));
    return new SignJWT(payload(change)).setProtectedHeader(full).sign(key);
  }

  /** A token with any header and payload and a signature of our key. */
  function signedText(header: string, body: string): string {
    const text = `${encode(header)}.${encode(body)}`;
    return `${text}.${sign(null, Buffer.from(text), ours.privateKey).toString("base64url")}`;
  }

  const headerText = () => JSON.stringify({ alg: "EdDSA", typ: "at+jwt", kid: ours.kid });

  function hmacSigned(secret: string | Buffer, alg = "HS256"): string {
    const text = `${encode({ alg, typ: "at+jwt", kid: ours.kid })}.${encode(payload())}`;
    return `${text}.${createHmac("sha256", secret).update(text).digest("base64url")}`;
  }

  it("accepts the token from which all hostile tokens are made", async () => {
    expect(await verifyAccessToken(deps, await signed())).toMatchObject({ userId: USER, sessionId: SESSION });
    expect(await verifyAccessToken(deps, signedText(headerText(), JSON.stringify(payload())))).toBeDefined();
  });

  const cases: [string, () => string | Promise<string>][] = [
    ["empty", () => ""],
    ["no JWT", () => "garbage"],
    ["two parts", async () => (await signed()).split(".").slice(0, 2).join(".")],
    ["four parts", async () => `${await signed()}.AAAA`],
    [
      "alg none without signature",
      () => `${encode({ alg: "none", typ: "at+jwt", kid: ours.kid })}.${encode(payload())}.`,
    ],
    [
      "alg None with a signature",
      () => `${encode({ alg: "None", typ: "at+jwt", kid: ours.kid })}.${encode(payload())}.AAAA`,
    ],
    ["a valid header, no signature", async () => `${(await signed()).split(".").slice(0, 2).join(".")}.`],
    ["HS256 with the public key as PEM", async () => hmacSigned(await exportSPKI(createPublicKey(ours.privateKey)))],
    ["HS256 with the public key as JWK", () => hmacSigned(JSON.stringify(ours.publicJwk))],
    ["HS256 with the public key's bytes", () => hmacSigned(Buffer.from(ours.publicJwk.x as string, "base64url"))],
    ["HS256 with the empty key", () => hmacSigned("")],
    ["another key under our kid", () => signed({}, {}, theirs.privateKey)],
    ["a key that we don't have", () => signed({}, { kid: theirs.kid }, theirs.privateKey)],
    ["no kid", () => signed({}, { kid: undefined })],
    ["a kid that is no text", () => signed({}, { kid: 1 })],
    ["a kid that is a path", () => signed({}, { kid: "../../dev/null" })],
    ["a kid that is SQL", () => signed({}, { kid: "' or 1=1 --" })],
    ["a kid of another of our keys", () => signed({}, { kid: next.kid })],
    ["the right key under another algorithm's name", () => signed({}, { alg: "Ed25519" })],
    ["our other key's algorithm with this kid", () => signed({}, { alg: "ES256", kid: ours.kid }, next.privateKey)],
    ["a key in the header (jwk)", () => signed({}, { jwk: theirs.publicJwk }, theirs.privateKey)],
    ["a key in the header, our signature", () => signed({}, { jwk: ours.publicJwk })],
    ["a key by URL (jku)", () => signed({}, { jku: "https://attacker.example/jwks.json" })],
    ["a certificate by URL (x5u)", () => signed({}, { x5u: "https://attacker.example/cert.pem" })],
    ["a certificate (x5c)", () => signed({}, { x5c: ["AAAA"] })],
    [
      "an unencoded payload (b64)",
      () =>
        signedText(
          JSON.stringify({ ...JSON.parse(headerText()), b64: false, crit: ["b64"] }),
          JSON.stringify(payload()),
        ),
    ],
    [
      "an unknown critical extension",
      () => signedText(JSON.stringify({ ...JSON.parse(headerText()), crit: ["x"], x: 1 }), JSON.stringify(payload())),
    ],
    [
      "an empty crit",
      () => signedText(JSON.stringify({ ...JSON.parse(headerText()), crit: [] }), JSON.stringify(payload())),
    ],
    ["an unknown header member", () => signed({}, { cty: "JWT" })],
    ["typ JWT", () => signed({}, { typ: "JWT" })],
    ["no typ", () => signed({}, { typ: undefined })],
    ["typ in another case", () => signed({}, { typ: "AT+JWT" })],
    ["typ as a media type", () => signed({}, { typ: "application/at+jwt" })],
    ["an ID token's typ", () => signed({}, { typ: "id+jwt" })],
    ["another issuer", () => signed({ iss: "https://attacker.example" })],
    ["our issuer with a slash", () => signed({ iss: `${ISSUER}/` })],
    ["issuers in a list", () => signed({ iss: [ISSUER] })],
    ["no issuer", () => signed({ iss: undefined })],
    ["another audience", () => signed({ aud: "billing" })],
    ["several audiences", () => signed({ aud: [AUDIENCE, "billing"] })],
    ["no audience", () => signed({ aud: undefined })],
    ["another client", () => signed({ client_id: "billing" })],
    ["no client", () => signed({ client_id: undefined })],
    ["no subject", () => signed({ sub: undefined })],
    ["a subject that is no text", () => signed({ sub: { id: USER } })],
    ["no session", () => signed({ sid: undefined })],
    ["a session that is no text", () => signed({ sid: [SESSION] })],
    ["no token id", () => signed({ jti: undefined })],
    ["no expiry", () => signed({ exp: undefined })],
    ["no time of issue", () => signed({ iat: undefined })],
    ["expired a second ago", () => signed({ iat: now() - 100, exp: now() - 1 })],
    ["expires now", () => signed({ iat: now() - 100, exp: now() })],
    ["expired long ago", () => signed({ iat: 1, exp: 2 })],
    ["expiry as text", () => signed({ exp: `${now() + 1800}` })],
    ["expiry as a fraction", () => signed({ exp: now() + 1800.5 })],
    ["expiry beyond safe integers", () => signed({ exp: 2 ** 60 })],
    ["a negative expiry", () => signed({ exp: -1 })],
    ["issued in the future", () => signed({ iat: now() + 60 })],
    ["not yet valid", () => signed({ nbf: now() + 60 })],
    ["expires before it was issued", () => signed({ iat: now() + 9, exp: now() + 5 })],
    [
      "a claim twice, the last one ours",
      () => signedText(headerText(), `{"sub":"usr_someoneelse00000",${JSON.stringify(payload()).slice(1)}`),
    ],
    [
      "a claim twice, the first one ours",
      () => signedText(headerText(), `${JSON.stringify(payload()).slice(0, -1)},"exp":9999999999}`),
    ],
    ["a header member twice", () => signedText(`{"alg":"none",${headerText().slice(1)}`, JSON.stringify(payload()))],
    ["a payload with white space", () => signedText(headerText(), `${JSON.stringify(payload())} `)],
    ["a payload that is a list", () => signedText(headerText(), JSON.stringify([payload()]))],
    ["a payload that is null", () => signedText(headerText(), "null")],
    ["a payload that is no JSON", () => signedText(headerText(), "{")],
    [
      "a payload with invalid UTF-8",
      async () => {
        const text = `${encode(headerText())}.${Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]).toString("base64url")}`;
        return `${text}.${(await signed()).split(".")[2]}`;
      },
    ],
    [
      "a header with __proto__",
      () => signedText(`{"__proto__":{"kid":"${ours.kid}"},"alg":"EdDSA","typ":"at+jwt"}`, JSON.stringify(payload())),
    ],
    [
      "a changed payload",
      async () => {
        const [header, , signature] = (await signed()).split(".");
        return `${header}.${encode(payload({ sub: "usr_someoneelse00000" }))}.${signature}`;
      },
    ],
    [
      "a signature with one other bit",
      async () => {
        const [header, body, signature] = (await signed()).split(".");
        const bytes = Buffer.from(signature!, "base64url");
        bytes[10]! ^= 1;
        return `${header}.${body}.${bytes.toString("base64url")}`;
      },
    ],
    ["a signature of zeros", async () => `${(await signed()).split(".").slice(0, 2).join(".")}.${"A".repeat(86)}`],
    ["a padded part", async () => `${await signed()}==`],
    [
      "stray bits at the end of the signature",
      async () => {
        const token = await signed();
        const last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        return token.slice(0, -1) + last[last.indexOf(token.at(-1)!) + 1];
      },
    ],
    ["standard base64 instead of base64url", async () => (await signed()).replace(/.$/, "+")],
    ["a space in front", async () => ` ${await signed()}`],
    ["a line break behind", async () => `${await signed()}\n`],
    [
      "a JWE to our public key",
      async () => {
        const { publicKey } = generateKeyPairSync("x25519");
        return new CompactEncrypt(Buffer.from(JSON.stringify(payload())))
          .setProtectedHeader({ alg: "ECDH-ES", enc: "A256GCM", typ: "at+jwt", kid: ours.kid })
          .encrypt(publicKey);
      },
    ],
    [
      "a JWS in JSON form",
      async () => {
        const [header, body, signature] = (await signed()).split(".");
        return JSON.stringify({ protected: header, payload: body, signature });
      },
    ],
    ["oversized by a claim", () => signed({ jti: "x".repeat(4000) })],
    ["a megabyte", () => `${"A".repeat(1_000_000)}.e30.AAAA`],
    ["a million dots", () => ".".repeat(1_000_000)],
    ["an API key", () => `kit_live_${"a".repeat(65)}`],
  ];

  it.each(cases)("refuses a hostile token: %s", async (_what, token) => {
    expect(await verifyAccessToken(deps, await token())).toBeUndefined();
  });

  it("fails, instead of refusing the token, if the signing keys can't be read", async () => {
    const away = { ...deps, signingKeys: { ...deps.signingKeys, verifier: () => Promise.reject(new Error("away")) } };
    await expect(verifyAccessToken(away, await signed())).rejects.toThrow("away");
  });
});

it("seals no two signing keys under one nonce", async () => {
  const sealed = await Promise.all(Array.from({ length: 8 }, () => newSigningKey(ring, "EdDSA")));
  const nonces = sealed.map((key) => Buffer.from(key.sealed).subarray(0, 12).toString("hex"));
  expect(new Set(nonces).size).toBe(8);
});

it("unseals a signing key only if no field of its row was changed", async () => {
  const sealed = await newSigningKey(ring, "EdDSA");
  const other = await newSigningKey(ring, "EdDSA");
  expect(sealed.kid).toMatch(/^[\w-]{43}$/);
  expect(await unsealSigningKey(ring, sealed)).toMatchObject({ kid: sealed.kid });
  expect(await unsealSigningKey(ring, { ...sealed, kid: other.kid })).toBe("tampered");
  expect(await unsealSigningKey(ring, { ...sealed, sealed: other.sealed })).toBe("tampered");
  expect(await unsealSigningKey(ring, { ...sealed, algorithm: "ES256" })).toBe("tampered");
  expect(await unsealSigningKey(ring, { ...sealed, sealVersion: 2 })).toBe("version_missing");
  expect(await unsealSigningKey(ring, { ...sealed, sealed: sealed.sealed.subarray(0, 20) })).toBe("tampered");
  for (const at of [0, 12, 28, sealed.sealed.length - 1]) {
    const bytes = Buffer.from(sealed.sealed);
    bytes[at]! ^= 1;
    expect(await unsealSigningKey(ring, { ...sealed, sealed: bytes })).toBe("tampered");
  }
  expect(Buffer.from(sealed.sealed).toString("latin1")).not.toContain('"d"');
});
