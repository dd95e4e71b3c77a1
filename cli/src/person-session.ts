import { Code, ConnectError } from "@connectrpc/connect";
import type { RefreshResponse, TokenPair } from "@latchkey/client/contract";
import { EXIT } from "./exit-codes.ts";
import { Fault } from "./faults.ts";
import { changeProfiles, type Profile, type Profiles, readProfiles } from "./profiles.ts";
import { isoOf } from "./times.ts";

/** Where a person's session is kept. */
export interface SessionPlace {
  /** The file of profiles. */
  readonly path: string;
  /** The profile's name. */
  readonly profile: string;
}

interface Deps extends SessionPlace {
  readonly nowMs: () => number;
  readonly refresh: (refreshToken: string) => Promise<RefreshResponse>;
}

/** An access token with less time left is replaced before it is used. */
const LEAST_LEFT_MS = 10_000;

/**
 * The session of a person, whose tokens are in the profile. A refresh token works once: one process at a time exchanges
 * it and saves its successor, and the others take what that one has saved.
 */
export class PersonSession {
  readonly #deps: Deps;
  /** The token that was given last. Who asks again was refused with it. */
  #given: string | undefined;
  #underWay: Promise<unknown> = Promise.resolve();

  constructor(deps: Deps) {
    this.#deps = deps;
  }

  /** An access token, other than the last. @throws Fault if the session has ended; ConnectError */
  async accessToken(): Promise<string> {
    const kept = this.#usable(readProfiles(this.#deps.path));
    if (kept !== undefined) return this.#give(kept);
    const renewed = this.#renewed();
    this.#underWay = renewed.catch(() => {});
    return this.#give(await renewed);
  }

  /** Resolves once no exchange is under way: its tokens would be lost. */
  async settled(): Promise<void> {
    await this.#underWay;
  }

  async #renewed(): Promise<string> {
    const { path, profile: name } = this.#deps;
    let token: string | undefined;
    await changeProfiles(path, async (all) => {
      token = this.#usable(all);
      if (token !== undefined) return all;
      const tokens = await this.#exchanged(all.profiles[name]?.refreshToken);
      token = tokens.accessToken;
      return withSession(all, name, tokens);
    });
    return token!;
  }

  async #exchanged(refreshToken: string | undefined): Promise<TokenPair> {
    const ended = `the session of the profile "${this.#deps.profile}" has ended; run: latchkey login`;
    if (refreshToken === undefined) throw new Fault(EXIT.DENIED, ended);
    try {
      return (await this.#deps.refresh(refreshToken)).tokens!;
    } catch (error) {
      const isEnded = error instanceof ConnectError && error.code === Code.Unauthenticated;
      throw isEnded ? new Fault(EXIT.DENIED, ended) : error;
    }
  }

  #usable({ profiles }: Profiles): string | undefined {
    const { accessToken, accessTokenExpireTime = "" } = profiles[this.#deps.profile] ?? {};
    if (accessToken === undefined || accessToken === this.#given) return undefined;
    return Date.parse(accessTokenExpireTime) - this.#deps.nowMs() > LEAST_LEFT_MS ? accessToken : undefined;
  }

  #give(token: string): string {
    this.#given = token;
    return token;
  }
}

/** The profiles with these tokens in one of them. */
export function withSession(all: Profiles, name: string, tokens: TokenPair, more: Profile = {}): Profiles {
  const { accessToken, refreshToken, accessTokenExpireTime } = tokens;
  const session = { accessToken, refreshToken, accessTokenExpireTime: isoOf(accessTokenExpireTime) };
  return { ...all, profiles: { ...all.profiles, [name]: { ...all.profiles[name], ...more, ...session } } };
}

/** The profile without the tokens of a person. */
export function withoutSession(profile: Profile): Profile {
  const { accessToken: _, refreshToken: __, accessTokenExpireTime: ___, ...rest } = profile;
  return rest;
}
