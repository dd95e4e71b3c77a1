import { readFileSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { RefreshResponseSchema } from "@latchkey/client/contract";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { locked } from "../../cli/src/file-lock.ts";
import { PersonSession } from "../../cli/src/person-session.ts";
import { changeProfiles, readProfiles } from "../../cli/src/profiles.ts";
import { type Home, makeHome } from "./command.ts";

let home: Home;
let path: string;
beforeEach(() => {
  home = makeHome();
  path = join(home.folder, "latchkey/config.json");
});
afterEach(() => home[Symbol.dispose]());

const NOW_MS = 1_800_000_000_000;

/** A service that exchanges each refresh token once, as the real one does after its grace. */
class Exchange {
  readonly used: string[] = [];
  #newest = "refresh-0";

  refresh = async (token: string) => {
    this.used.push(token);
    // The others get their turn before the answer comes.
    for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate);
    if (token !== this.#newest) throw new ConnectError("used again", Code.Unauthenticated);
    this.#newest = `refresh-${this.used.length}`;
    return create(RefreshResponseSchema, {
      tokens: {
        accessToken: `access-${this.used.length}`,
        refreshToken: this.#newest,
        accessTokenExpireTime: timestampFromMs(NOW_MS + 300_000),
      },
    });
  };
}

async function kept(accessTokenExpireTime: string): Promise<void> {
  const session = { accessToken: "access-0", accessTokenExpireTime, refreshToken: "refresh-0" };
  await changeProfiles(path, () => ({ current: "default", profiles: { default: session } }));
}

const sessionOf = ({ refresh }: Exchange) =>
  new PersonSession({ path, profile: "default", nowMs: () => NOW_MS, refresh });

describe("the session of a person", () => {
  it("is exchanged once, however many commands find it expired at the same time", async () => {
    await kept(new Date(NOW_MS).toISOString());
    const exchange = new Exchange();
    const sessions = Array.from({ length: 8 }, () => sessionOf(exchange));
    const tokens = await Promise.all(sessions.map((session) => session.accessToken()));
    expect(new Set(tokens)).toEqual(new Set(["access-1"]));
    expect(exchange.used).toEqual(["refresh-0"]);
    expect(readProfiles(path).profiles.default).toMatchObject({ refreshToken: "refresh-1" });
  });

  it("is used without an exchange while its access token is good, and with one after it was refused", async () => {
    await kept(new Date(NOW_MS + 60_000).toISOString());
    const exchange = new Exchange();
    const session = sessionOf(exchange);
    expect(await session.accessToken()).toBe("access-0");
    expect(exchange.used).toEqual([]);
    expect(await session.accessToken()).toBe("access-1");
    expect(exchange.used).toEqual(["refresh-0"]);
  });

  it("is not lost to a change of the profile that comes during the exchange", async () => {
    await kept(new Date(NOW_MS).toISOString());
    const other = (all: ReturnType<typeof readProfiles>) => ({ ...all, current: "other" });
    await Promise.all([sessionOf(new Exchange()).accessToken(), changeProfiles(path, other)]);
    const { current, profiles } = readProfiles(path);
    expect({ current, token: profiles.default!.refreshToken }).toEqual({ current: "other", token: "refresh-1" });
  });
});

describe("the lock of the profiles", () => {
  it("is broken if its holder left it behind, and then held by one at a time", async () => {
    const lock = join(home.folder, "lock");
    writeFileSync(lock, "left behind");
    utimesSync(lock, 0, 0);
    let inside = 0;
    const work = async () => {
      inside++;
      await new Promise(setImmediate);
      const most = inside;
      inside--;
      return most;
    };
    expect(await Promise.all([locked(lock, work), locked(lock, work), locked(lock, work)])).toEqual([1, 1, 1]);
    expect(() => readFileSync(lock)).toThrow("ENOENT");
  });
});
