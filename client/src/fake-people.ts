import { generateKeyPairSync, sign } from "node:crypto";
import { errors } from "jose";
import type { AgeClock } from "../../src/lib/clock.ts";
import { newId } from "../../src/lib/id.ts";
import type { KeySet } from "./access-tokens.ts";
import type { FakeToken, FakeTokenOptions } from "./fake-controls.ts";

export const FAKE_ISSUER = "http://localhost:8080";
export const FAKE_AUDIENCE = "latchkey";
const KID = "fake";
const LIFETIME_MS = 900_000;

interface Session {
  readonly userId: string;
  readonly expiresAtMs: number;
}

/** People who are logged in, and the key that signs their access tokens. */
export class FakePeople {
  readonly #clock: AgeClock;
  readonly #pair = generateKeyPairSync("ed25519");
  readonly #sessions = new Map<string, Session>();

  constructor(clock: AgeClock) {
    this.#clock = clock;
  }

  /** The keys for the client, without a server. */
  readonly keySet: KeySet = {
    find: async ({ kid }) => {
      if (kid !== KID) throw new errors.JWKSNoMatchingKey();
      return this.#pair.publicKey;
    },
    load: async () => {},
  };

  issue({ userId = newId("usr"), lifetimeMs = LIFETIME_MS }: FakeTokenOptions): FakeToken {
    const sessionId = newId("ses");
    const nowMs = this.#clock.nowMs();
    const [iat, exp] = [nowMs, nowMs + lifetimeMs].map((ms) => Math.floor(ms / 1000)) as [number, number];
    this.#sessions.set(sessionId, { userId, expiresAtMs: exp * 1000 });
    const header = { alg: "EdDSA", typ: "at+jwt", kid: KID };
    const claims = { sid: sessionId, client_id: "latchkey", iss: FAKE_ISSUER, aud: FAKE_AUDIENCE, sub: userId };
    const unsigned = [header, { ...claims, jti: `${sessionId}-1`, iat, exp }].map(encoded).join(".");
    const signature = sign(null, Buffer.from(unsigned), this.#pair.privateKey).toString("base64url");
    return { accessToken: `${unsigned}.${signature}`, userId, sessionId };
  }

  end(sessionId: string): void {
    this.#sessions.delete(sessionId);
  }

  /** The user whose live session the token belongs to. The client has checked the signature before it asks. */
  userOf(token: string): string | undefined {
    const { sid } = JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString()) as { sid: string };
    const session = this.#sessions.get(sid);
    return session !== undefined && session.expiresAtMs > this.#clock.nowMs() ? session.userId : undefined;
  }
}

function encoded(part: object): string {
  return Buffer.from(JSON.stringify(part)).toString("base64url");
}
