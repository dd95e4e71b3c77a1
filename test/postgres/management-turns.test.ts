import { describe, expect, it, onTestFinished, vi } from "vitest";
import { DomainError } from "../../src/lib/errors.ts";
import { ManagementTurns } from "../../src/postgres/connections/management-turns.ts";
import { toDomainError } from "../../src/postgres/errors/driver-errors.ts";
import { type Asker, addressHolder, itself, knownHolder, ofKind } from "../../src/shares/holder.ts";
import { StandingClock } from "../support/shifted-clock.ts";

const CONNECTIONS = 10;
const USER: Asker = { holder: knownHolder("usr_1") };
const OTHER: Asker = { holder: knownHolder("usr_2") };
const stranger = (ip: string, kind = "Refresh"): Asker => ({ holder: ofKind(addressHolder(ip), kind) });

/** Work that runs until the test ends it. */
function turnsOf(connections = CONNECTIONS) {
  const clock = new StandingClock();
  const turns = new ManagementTurns(connections, clock);
  const begun: string[] = [];
  const ends = new Map<string, () => void>();
  /** @returns its name if it ended, or the reason of its refusal */
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
  return { turns, clock, begun, ask, asked, end };
}

/** Waits until all work that waits only for promises has continued. */
async function settled(): Promise<void> {
  for (let n = 0; n < 20; n++) await Promise.resolve();
}

describe("the admission of management calls", () => {
  it("admits 4 calls of one caller at a time while no other caller asks", async () => {
    const { turns, begun, asked, end } = turnsOf();
    asked(6, "one", USER);
    // The service's own work is no caller.
    asked(1, "audit", { holder: itself("audit") });
    await settled();
    expect(begun).toEqual(["one 0", "one 1", "one 2", "one 3", "audit 0"]);
    expect(turns.waiting).toBe(2);
    await end("one 0");
    expect(begun.at(-1)).toBe("one 4");
  });

  it("admits 2 calls of each caller while several ask, and 4 again a second after the others", async () => {
    const { clock, begun, ask, asked, end } = turnsOf();
    asked(20, "one", USER);
    asked(3, "other", OTHER);
    await settled();
    expect(begun).toEqual(["one 0", "one 1", "one 2", "one 3", "other 0", "other 1"]);
    await end("one 0", "one 1");
    expect(begun).toHaveLength(6);
    await end("one 2", "one 3");
    expect(begun.slice(6)).toEqual(["one 4", "one 5"]);
    await end("other 0", "other 1");
    await end("other 2");
    clock.advance(999);
    void ask("one more", USER);
    await settled();
    expect(begun.slice(8)).toEqual(["other 2"]);
    clock.advance(1);
    void ask("one last", USER);
    await settled();
    expect(begun.slice(9)).toEqual(["one 6", "one 7"]);
  });

  it("refuses the 105th call of a caller with a retry time, and not the first call of another", async () => {
    const { turns, begun, ask, asked } = turnsOf();
    asked(104, "one", USER);
    await settled();
    expect(turns.waiting).toBe(100);
    await expect(turns.run(USER, [], async () => {})).rejects.toMatchObject({
      reason: "OVERLOADED",
      retryAfterMs: 1000,
    });
    expect(turns.refused).toBe(1);
    void ask("other", OTHER);
    await settled();
    expect(begun).toContain("other");
  });

  it("refuses no further work of an admitted call", async () => {
    const { turns, asked, ask } = turnsOf();
    asked(104, "one", USER);
    void ask("further", { ...USER, isUnderWay: true });
    await settled();
    expect(turns.waiting).toBe(101);
  });

  it("keeps places for other kinds of calls of a caller when one kind floods", async () => {
    const { asked, ask, begun, end } = turnsOf();
    const refused = asked(200, "flood", stranger("192.0.2.1"));
    await settled();
    void ask("login", stranger("192.0.2.1", "Login"));
    await end("flood 0");
    expect(begun.at(-1)).toBe("login");
    expect(await refused.at(-1)).toBe("OVERLOADED");
  });

  it("admits 3 anonymous calls in total and 2 of one network, so that another network does not wait", async () => {
    const { asked, begun } = turnsOf();
    for (let n = 0; n < 8; n++) asked(2, `near ${n}`, stranger(`192.0.2.${n}`));
    asked(2, "far", stranger("198.51.100.1"));
    await settled();
    expect(begun).toEqual(["near 0 0", "near 0 1", "far 0"]);
  });

  it("serves waiting callers in turn, whatever the number of calls of one", async () => {
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

  it("waits for a lock before it takes a connection", async () => {
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

  it("ends any wait when its call ends", async () => {
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

  describe("while no call ends", () => {
    const fake = () => {
      vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setImmediate"] });
      onTestFinished(() => void vi.useRealTimers());
    };

    it("reports an unreachable database after 2 s without any answer", async () => {
      fake();
      const { ask } = turnsOf(1);
      void ask("holder", USER);
      const waiting = ask("waiting", OTHER);
      await vi.advanceTimersByTimeAsync(2010);
      expect(await waiting).toBe("DATABASE_UNAVAILABLE");
    });

    it("reports an overload after 5 s while the database answers", async () => {
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
      expect(turns.refused).toBe(1);
    });
  });

  it("measures each wait by the kind of its caller, also a wait in vain", async () => {
    const { turns, clock, ask, end } = turnsOf(1);
    const controller = new AbortController();
    void ask("holder", USER);
    const waiting = [
      ask("service", { holder: knownHolder("key_1") }),
      ask("gone", { ...stranger("192.0.2.1"), signal: controller.signal }),
    ];
    await settled();
    clock.advance(300);
    controller.abort(new Error("gone"));
    await end("holder");
    await end("service");
    expect(await Promise.all(waiting)).toEqual(["service", "Error: gone"]);
    void ask("audit", { holder: itself("audit") });
    await settled();
    const waits = [...turns.waitSeconds].map(([kind, { counts, sum }]) => [kind, counts.reduce((a, b) => a + b), sum]);
    expect(waits).toEqual([
      ["service", 1, 0.3],
      ["user", 1, 0],
      ["anonymous", 1, 0.3],
      ["itself", 1, 0],
    ]);
  });

  it.each([
    ["a connection that is not made in time", new Error("timeout exceeded when trying to connect")],
    ["a statement that takes too long", Object.assign(new Error("canceling statement"), { code: "57014" })],
  ])("reports %s as an outage only if the database answers no other call meanwhile", async (_what, cause) => {
    const { turns } = turnsOf();
    const fail = (isAnswered: boolean) =>
      turns.run(USER, [], async () => {
        if (isAnswered) turns.answered();
        throw toDomainError(cause);
      });
    await expect(fail(false)).rejects.toMatchObject({ reason: "DATABASE_UNAVAILABLE" });
    await expect(fail(true)).rejects.toMatchObject({ reason: "OVERLOADED", retryAfterMs: 1000 });
  });

  it("goes on when work fails", async () => {
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
