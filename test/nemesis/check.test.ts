import { describe, expect, it } from "vitest";
import { check } from "./check.ts";
import type { History } from "./history.ts";
import {
  change,
  failed,
  fault,
  history,
  KEY,
  keyRow,
  limitCall,
  message,
  near,
  OWNER,
  row,
  SECRET,
  SESSION,
  sessionCall,
  sessionRow,
  verdict,
} from "./sample-history.ts";

const REVOKED = keyRow(10_000, { state: "revoked" });
const REVOKE = change("revoke", 9990, 10_010);
const ENDED = sessionRow(10_000, { ended_at: "2026-11-28", end_reason: "logout" });
const LOGOUT = sessionCall("logout", 10_010, { startedMs: 9990 });
const DISABLED_OWNER = row("users", OWNER, 10_000, { state: "disabled" });
const ENDED_SECRET = row("key_secrets", KEY, 10_000, { digest: "\\x01", expires_at: "1970-01-01T00:00:09.995Z" });
const NEW_SECRET = row("key_secrets", KEY, 10_000, { digest: "\\x02", expires_at: null });
const ROTATE = change("rotate", 9990, 10_010, { secret: "key_1 2" });
const UNAUTHENTICATED = { kind: "error", code: "Unauthenticated", reason: "REFRESH_TOKEN_INVALID" } as const;
const BROKEN = { kind: "error", code: "Internal", reason: "" } as const;
const INTERNAL = { kind: "error", code: "Internal", reason: "INTERNAL" } as const;
const OWNER_REFUSED = { kind: "error", code: "FailedPrecondition", reason: "USER_DISABLED" } as const;
const CHANGE = { what: `KEY ${KEY}`, committedMs: 10_000 };
const OK = { kind: "ok" } as const;
const FAILED = { kind: "error", code: "Internal", reason: "TypeError" } as const;
const ADVANCED = sessionRow(9000, { generation: 3 });
const REUSED = sessionRow(10_000, { generation: 3, ended_at: "2026-11-28", end_reason: "refresh_token_reused" });
const REUSE = sessionCall("reuse", 10_010, { startedMs: 9990, generation: 1, outcome: UNAUTHENTICATED });
const REVOKE_AGAIN = { ...REVOKE, revokeTime: "1970-01-01T00:00:10.000Z" };
const LONG_FAULT = fault(10_000, 60_000, { stopsPostgres: true });

/** Ten calls of process 1 without an answer, 100 ms apart. */
const unanswered = (fromMs: number) => Array.from({ length: 10 }, (_, n) => failed("Unavailable", fromMs + n * 100));

const follower = (...messages: ReturnType<typeof message>[]) => ({
  changes: [CHANGE],
  followers: [{ name: "follower", messages: [message(5000), ...messages] }],
});

describe("the checker finds nothing in", () => {
  it.each<[string, History]>([
    ["a good key that is VALID", history([verdict("VALID", 5000)])],
    ["a revoked key that is REVOKED", history([REVOKE, verdict("REVOKED", 11_000)], { ledger: [REVOKED] })],
    [
      "a revoked key that is VALID by an answer that says how old it is",
      history([REVOKE, verdict("VALID", 14_900, { asOfMs: 9995 })], { ledger: [REVOKED] }),
    ],
    [
      "the same for longer, while the database is unreachable",
      history([REVOKE, verdict("VALID", 24_000, { asOfMs: 9995, maxStalenessMs: 15_000 })], { ledger: [REVOKED] }),
    ],
    [
      "the owner of before in a process that acknowledged no more than a change of the key",
      history([change("enable", 10_100, 10_110, { process: 1 }), verdict("VALID", 10_200, { asOfMs: 9900 })], {
        ledger: [DISABLED_OWNER],
      }),
    ],
    ["either verdict while the revocation is under way", history([verdict("VALID", 10_001)], { ledger: [REVOKED] })],
    [
      "either verdict of what was committed without an acknowledgement while the server was stopped",
      history([change("revoke", 9990, 12_000, { outcome: BROKEN }), verdict("VALID", 15_000)], {
        ledger: [REVOKED],
        faults: [fault(9000, 16_000, { stopsPostgres: true, endsProcesses: [0] })],
      }),
    ],
    ["a key of a disabled owner", history([verdict("OWNER_DISABLED", 13_000)], { ledger: [DISABLED_OWNER] })],
    [
      "a key that is not issued to a disabled owner",
      history([change("issue", 13_000, 13_010, { subject: "key 2", ownerId: OWNER, outcome: OWNER_REFUSED })], {
        ledger: [DISABLED_OWNER],
      }),
    ],
    ["a scope that is missing", history([verdict("SCOPE_MISSING", 5000, { scope: "write" })])],
    ["a limit that is reached", history([verdict("RATE_LIMITED", 5000, { limit: 4, cost: 1 })])],
    [
      "the old and the new secret after a rotation",
      history([ROTATE, verdict("EXPIRED", 13_000), verdict("VALID", 13_000, { secret: "key_1 2" })], {
        ledger: [ENDED_SECRET, NEW_SECRET],
      }),
    ],
    ["a database that can't be reached", history([failed("Unavailable", 5000)])],
    [
      "a connection that ends with its process",
      history([failed("Internal", 5000, { outcome: BROKEN })], { faults: [fault(4000, 4500, { endsProcesses: [1] })] }),
    ],
    [
      "one refresh that several processes answer alike",
      history(
        [1, 2].map((process) =>
          sessionCall("refresh", 10_010, {
            process,
            startedMs: 9990,
            generation: 1,
            nextGeneration: 2,
            nextDigest: "a",
          }),
        ),
        { ledger: [sessionRow(10_000, { generation: 2 })] },
      ),
    ],
    [
      "an access token for 5 s after a logout elsewhere, and none after",
      history(
        [
          { ...LOGOUT, process: 0 },
          sessionCall("whoami", 14_000),
          sessionCall("whoami", 17_000, { outcome: UNAUTHENTICATED }),
        ],
        { ledger: [ENDED] },
      ),
    ],
    ["a limit that is used up", history([1, 2, 3, 4].map((n) => limitCall(n * 1000)))],
    ["a limit of each window", history([1, 2, 3, 4, 61.1, 62.1, 63.1, 64.1].map((n) => limitCall(n * 1000)))],
    [
      "a limit that starts again with an empty Redis",
      history(
        [1, 2, 3, 4, 11, 12, 13, 14].map((n) => limitCall(n * 1000)),
        {
          faults: [fault(9000, 9500, { emptiesRedis: true })],
        },
      ),
    ],
    [
      "shares of processes that count alone",
      history([1, 2, 3, 4, 5, 6].map((n) => limitCall(n * 1000, { degraded: n > 4 }))),
    ],
    ["a good key that is VALID near", history([near("VALID", 5000)])],
    [
      "a revoked key that is VALID near by a record of before",
      history([REVOKE, near("VALID", 14_900, { ageMs: 4950 })], { ledger: [REVOKED] }),
    ],
    [
      "the same by an old answer of the service, while the database is unreachable",
      history([REVOKE, near("VALID", 24_000, { source: "service", ageMs: 14_500 })], { ledger: [REVOKED] }),
    ],
    [
      "an old refresh token that ends its session",
      history([REUSE, sessionCall("whoami", 17_000, { outcome: UNAUTHENTICATED })], { ledger: [ADVANCED, REUSED] }),
    ],
    ["a revocation with one time", history([REVOKE_AGAIN, { ...REVOKE_AGAIN, process: 2 }], { ledger: [REVOKED] })],
    ["a process that answers nothing during a fault", history(unanswered(20_000), { faults: [LONG_FAULT] })],
    ["a process that answers nothing just after a fault", history(unanswered(65_000), { faults: [LONG_FAULT] })],
    [
      "a process that answers nothing while it starts",
      history(unanswered(80_000), { starts: [{ process: 1, startedMs: 50_000, readyMs: 72_000 }] }),
    ],
    ["a process that answers one call of many", history([...unanswered(80_000), verdict("VALID", 82_000)])],
    [
      "a stream whose second message is of an earlier poll",
      history(
        [],
        follower(
          message(10_050, { changes: [CHANGE.what] }),
          message(15_000, { stream: 2 }),
          message(15_001, { stream: 2, asOfMs: 14_000 }),
        ),
      ),
    ],
    ["a watcher that was told", history([], follower(message(10_050, { changes: [CHANGE.what] }), message(15_000)))],
    ["a watcher that was told to resync", history([], follower(message(12_000, { resync: true }), message(15_000)))],
  ])("%s", (_, sample) => expect(check(sample)).toEqual([]));
});

describe("the checker reports", () => {
  it.each<[string, string, History]>([
    [
      "a revoked key that is VALID as of after its revocation",
      "verdict",
      history([REVOKE, verdict("VALID", 10_100)], { ledger: [REVOKED] }),
    ],
    [
      "a revoked key that the process which revoked it takes",
      "verdict",
      history([REVOKE, verdict("VALID", 10_100, { process: 0, asOfMs: 9000 })], { ledger: [REVOKED] }),
    ],
    [
      "an answer older than it says of itself",
      "verdict",
      history([REVOKE, verdict("VALID", 16_100, { asOfMs: 9995 })], { ledger: [REVOKED] }),
    ],
    ["a bound beyond what is configured", "verdict", history([verdict("VALID", 5000, { maxStalenessMs: 60_000 })])],
    ["an answer from the future", "verdict", history([verdict("VALID", 5000, { asOfMs: 5100 })])],
    ["an answer without freshness", "verdict", history([verdict("INVALID", 5000, { asOfMs: undefined } as never)])],
    ["a good key that is INVALID", "verdict", history([verdict("INVALID", 5000)])],
    ["a good key that is RATE_LIMITED far below its limit", "verdict", history([verdict("RATE_LIMITED", 5000)])],
    ["a scope that the key lacks", "verdict", history([verdict("VALID", 5000, { scope: "write" })])],
    [
      "an old secret that works on",
      "verdict",
      history([ROTATE, verdict("VALID", 13_000)], { ledger: [ENDED_SECRET, NEW_SECRET] }),
    ],
    ["a key of an owner who is disabled", "verdict", history([verdict("VALID", 13_000)], { ledger: [DISABLED_OWNER] })],
    ["a revocation that was acknowledged and is not there", "acknowledged", history([REVOKE])],
    ["a rotation that was acknowledged and has no secret", "acknowledged", history([ROTATE])],
    ["an internal error", "code", history([failed("Internal", 5000, { outcome: INTERNAL })])],
    ["a connection that ends without a reason", "code", history([failed("Internal", 5000, { outcome: BROKEN })])],
    ["a good credential that is refused", "code", history([failed("Unauthenticated", 5000)])],
    [
      "a good key that is not found",
      "code",
      history([
        change("disable", 5000, 5010, { outcome: { kind: "error", code: "NotFound", reason: "KEY_NOT_FOUND" } }),
      ]),
    ],
    [
      "an owner who is said to be disabled, and is not",
      "code",
      history([change("issue", 13_000, 13_010, { subject: "key 2", ownerId: OWNER, outcome: OWNER_REFUSED })]),
    ],
    [
      "two successors of one token",
      "successor",
      history(
        ["a", "b"].map((nextDigest) =>
          sessionCall("refresh", 10_010, { startedMs: 9990, generation: 1, nextGeneration: 2, nextDigest }),
        ),
        { ledger: [sessionRow(10_000, { generation: 2 })] },
      ),
    ],
    [
      "a session that is lost",
      "session lost",
      history([], { ledger: [sessionRow(10_000, { ended_at: "2026", end_reason: "refresh_token_reused" })] }),
    ],
    [
      "a good refresh token that is refused",
      "session",
      history([sessionCall("refresh", 5000, { generation: 1, outcome: UNAUTHENTICATED })]),
    ],
    [
      "a refresh after an acknowledged logout",
      "session",
      history([LOGOUT, sessionCall("refresh", 20_000, { generation: 1, nextGeneration: 2, nextDigest: "a" })], {
        ledger: [ENDED],
      }),
    ],
    ["a logout that was acknowledged and is not there", "session", history([LOGOUT])],
    [
      "an access token 7 s after its session ended",
      "session",
      history([{ ...LOGOUT, process: 0 }, sessionCall("whoami", 19_000)], { ledger: [ENDED] }),
    ],
    [
      "an access token where the logout was acknowledged",
      "session",
      history([LOGOUT, sessionCall("whoami", 10_100)], { ledger: [ENDED] }),
    ],
    ["a limit that is exceeded", "limit", history([1, 2, 3, 4, 60].map((n) => limitCall(n * 1000)))],
    [
      "a limit that is exceeded by what Redis admitted, though processes counted alone too",
      "limit",
      history([1, 2, 3, 4, 5, 6].map((n) => limitCall(n * 1000, { degraded: n === 6 }))),
    ],
    [
      "a limit that is exceeded after an empty Redis as well",
      "limit",
      history(
        [1, 2, 3, 4, 11, 12, 13, 14, 15].map((n) => limitCall(n * 1000)),
        {
          faults: [fault(9000, 9500, { emptiesRedis: true })],
        },
      ),
    ],
    [
      "a revoked key that is VALID near for longer",
      "near",
      history([REVOKE, near("VALID", 17_000)], { ledger: [REVOKED] }),
    ],
    ["a good key that is REVOKED near", "near", history([near("REVOKED", 5000)])],
    ["a near verdict by a record that is too old", "near", history([near("VALID", 9000, { ageMs: 6500 })])],
    ["a near client that fails", "code", history([near("", 5000, { verdict: undefined, outcome: FAILED } as never)])],
    ["an old refresh token that is taken", "session", history([{ ...REUSE, outcome: OK }], { ledger: [ADVANCED] })],
    ["an old refresh token that ends nothing", "session", history([REUSE], { ledger: [ADVANCED] })],
    ["a session that ends as reused, and was not", "session lost", history([], { ledger: [ADVANCED, REUSED] })],
    [
      "two times of one revocation",
      "revoked twice",
      history([REVOKE_AGAIN, { ...REVOKE_AGAIN, process: 2, revokeTime: "1970-01-01T00:00:11.000Z" }], {
        ledger: [REVOKED],
      }),
    ],
    ["a process that answers nothing after a fault", "recovery", history(unanswered(80_000), { faults: [LONG_FAULT] })],
    [
      "a stream that goes back",
      "watcher",
      history(
        [],
        follower(message(10_050, { changes: [CHANGE.what] }), message(15_000), message(15_100, { asOfMs: 14_000 })),
      ),
    ],
    ["a watcher that was not told", "watcher", history([], follower(message(15_000)))],
    ["a watcher that never came back", "watcher", history([], follower())],
    ["a process that ended by itself", "crash", history([], { crashes: [{ process: 1, atMs: 5000, output: "oh" }] })],
  ])("%s", (_, rule, sample) => expect(check(sample).map((violation) => violation.rule)).toEqual([rule]));
});

describe("the sample", () => {
  it("has one key and one session", () => {
    expect(history([]).ledger.map(({ subject }) => subject)).toEqual([OWNER, KEY, KEY, SESSION]);
    expect(SECRET.startsWith(KEY)).toBe(true);
  });
});
