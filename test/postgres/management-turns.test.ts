import { describe, expect, it, onTestFinished, vi } from "vitest";
import { DomainError } from "../../src/lib/errors.ts";
import { ManagementTurns } from "../../src/postgres/connections/management-turns.ts";
import { toDomainError } from "../../src/postgres/errors/driver-errors.ts";
import { type Asker, addressHolder, itself, knownHolder, ofKind } from "../../src/shares/holder.ts";

const CONNECTIONS = 10;
const USER: Asker = { holder: knownHolder("usr_1") };
const OTHER: Asker = { holder: knownHolder("usr_2") };
const stranger = (ip: string, kind = "Refresh"): Asker => ({ holder: ofKind(addressHolder(ip), kind) });

/** Work that is under way until it is told to end. */
function turnsOf(connections = CONNECTIONS) {
  const turns = new ManagementTurns(connections);
  const begun: string[] = [];
  const ends = new Map<string, () => void>();
  /** @returns how it ended: its name, or the reason of what refused it */
  const ask = (name: string, asker: Asker, ...locks: string[]) =>
    turns
      .run(asker, locks, async () => {
        begun.push(name);
        await new Promise<void>((resolve) => ends.set(name, resolve));
        return name;
      })
      .catch((error: unknown) => (error instanceof DomainError ? error.reason : String(error)));
  const asked = (count: number, name: string, asker: Asker, ...locks: string[]) =>
    Array.from({ length: count }, (_, n) => ask(`${name} ${n}`, asker, ...locks));
  const end = async (...names: string[]) => {
    for (const name of names) ends.get(name)!();
    await settled();
  };
  return { turns, begun, ask, asked, end };
}

/** Until all that waits for nothing but promises has gone on. */
async function settled(): Promise<void> {
  for (let n = 0; n < 20; n++) await Promise.resolve();
}

describe("turns of management", () => {
  it("let four of one caller be under way, and as many of another", async () => {
    const { turns, begun, asked } = turnsOf();
    asked(6, "one", USER);
    asked(6, "other", OTHER);
    await settled();
    expect(begun).toEqual([..."0123"].flatMap((n) => [`one ${n}`]).concat([..."0123"].map((n) => `other ${n}`)));
    expect(turns.waiting).toBe(4);
  });

  it("refuse a caller's 105th, with the time to try again, and no other caller's first", async () => {
    const { turns, begun, ask, asked } = turnsOf();
    asked(104, "one", USER);
    await settled();
    expect(turns.waiting).toBe(100);
    await expect(turns.run(USER, [], async () => {})).rejects.toMatchObject({
      reason: "OVERLOADED",
      retryAfterMs: 1000,
    });
    void ask("other", OTHER);
    await settled();
    expect(begun).toContain("other");
  });

  it("refuse no work of a call that was let in before", async () => {
    const { turns, asked, ask } = turnsOf();
    asked(104, "one", USER);
    void ask("further", { ...USER, isUnderWay: true });
    await settled();
    expect(turns.waiting).toBe(101);
  });

  it("leave a way for another kind of a caller's calls when one kind floods", async () => {
    const { asked, ask, begun, end } = turnsOf();
    const refused = asked(200, "flood", stranger("192.0.2.1"));
    await settled();
    void ask("login", stranger("192.0.2.1", "Login"));
    await end("flood 0");
    expect(begun.at(-1)).toBe("login");
    expect(await refused.at(-1)).toBe("OVERLOADED");
  });

  it("let three of all strangers be under way, two of one network, so that another network waits for none", async () => {
    const { asked, begun } = turnsOf();
    for (let n = 0; n < 8; n++) asked(2, `near ${n}`, stranger(`192.0.2.${n}`));
    asked(2, "far", stranger("198.51.100.1"));
    await settled();
    expect(begun).toEqual(["near 0 0", "near 0 1", "far 0"]);
  });

  it("serve waiting callers in turn, however many one of them has sent", async () => {
    const { asked, begun, end } = turnsOf(1);
    asked(5, "one", USER);
    asked(1, "other", OTHER);
    asked(1, "service", { holder: itself("audit") });
    await settled();
    await end("one 0");
    const [second, third] = [begun.at(-1)!, "one 1"];
    await end(second);
    await end(begun.at(-1)!);
    expect(begun.slice(0, 4).sort()).toEqual(["one 0", "other 0", "service 0", third].sort());
  });

  it("wait for a lock before a connection is taken", async () => {
    const { asked, ask, begun, end } = turnsOf(2);
    void ask("holder", USER, "user usr_1");
    await settled();
    asked(3, "waiting", { holder: itself("keys") }, "user usr_1");
    void ask("other", OTHER);
    await settled();
    expect(begun).toEqual(["holder", "other"]);
    await end("holder");
    expect(begun).toEqual(["holder", "other", "waiting 0"]);
  });

  it("give a wait up when its call ends, for whatever it waits", async () => {
    const { turns, ask, asked } = turnsOf(2);
    const call = new AbortController();
    void ask("holder", OTHER, "a");
    asked(1, "second", { holder: itself("keys") });
    await settled();
    const forLock = ask("lock", { ...USER, signal: call.signal }, "a");
    const forConnection = ask("connection", { holder: knownHolder("usr_3"), signal: call.signal });
    await settled();
    expect(turns.waiting).toBe(2);
    call.abort(new DomainError("DEADLINE_EXCEEDED", "late"));
    expect(await Promise.all([forLock, forConnection])).toEqual(["DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED"]);
    expect(turns.waiting).toBe(0);
  });

  describe("when nothing ends", () => {
    const fake = () => {
      vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setImmediate"] });
      onTestFinished(() => void vi.useRealTimers());
    };

    it("say that the database is unreachable after 2 s in which it answered nothing", async () => {
      fake();
      const { ask } = turnsOf(1);
      void ask("holder", USER);
      const waiting = ask("waiting", OTHER);
      await vi.advanceTimersByTimeAsync(2010);
      expect(await waiting).toBe("DATABASE_UNAVAILABLE");
    });

    it("call it an overload, after 5 s, while the database answers", async () => {
      fake();
      const { turns, ask } = turnsOf(1);
      void ask("holder", USER);
      const waiting = ask("waiting", OTHER);
      await vi.advanceTimersByTimeAsync(1000);
      turns.answered();
      await vi.advanceTimersByTimeAsync(3900);
      expect(turns.waiting).toBe(1);
      await vi.advanceTimersByTimeAsync(200);
      expect(await waiting).toBe("OVERLOADED");
      expect(turns.waiting).toBe(0);
    });
  });

  it.each([
    ["a connection that is not made in time", new Error("timeout exceeded when trying to connect")],
    ["a statement that takes too long", Object.assign(new Error("canceling statement"), { code: "57014" })],
  ])("call %s an outage only where the database answers no one else meanwhile", async (_what, cause) => {
    const { turns } = turnsOf();
    const fail = (isAnswered: boolean) =>
      turns.run(USER, [], async () => {
        if (isAnswered) turns.answered();
        throw toDomainError(cause);
      });
    await expect(fail(false)).rejects.toMatchObject({ reason: "DATABASE_UNAVAILABLE" });
    await expect(fail(true)).rejects.toMatchObject({ reason: "OVERLOADED", retryAfterMs: 1000 });
  });

  it("go on when work fails", async () => {
    const { turns, ask, begun } = turnsOf(1);
    await expect(
      turns.run(USER, ["a"], async () => {
        throw new Error("no");
      }),
    ).rejects.toThrow("no");
    void ask("next", USER, "a");
    await settled();
    expect(begun).toEqual(["next"]);
  });
});
