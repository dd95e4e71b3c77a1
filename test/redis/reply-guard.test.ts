import { describe, expect, it } from "vitest";
import { ReplyGuard } from "../../src/redis/reply-guard.ts";

const BOUNDS = { bytes: 100, entries: 8 };

/** What the guard says of bytes that come in pieces of a size, after so many commands. */
function faultOf(bytes: string, commands: number, size = bytes.length): string | undefined {
  const guard = new ReplyGuard(BOUNDS);
  for (let n = 0; n < commands; n++) guard.expect();
  const all = Buffer.from(bytes, "latin1");
  for (let at = 0; at < all.length; at += size) {
    const fault = guard.faultOf(all.subarray(at, at + size));
    if (fault !== undefined) return fault;
  }
  return undefined;
}

/** Each text in one piece, byte by byte, and in pieces between. */
const SIZES = [1, 2, 3, 7, 1_000];

describe("a guard lets through", () => {
  it.each<[what: string, bytes: string, replies: number]>([
    ["a status", "+OK\r\n", 1],
    ["an error", "-WRONGPASS invalid username-password pair or user is disabled.\r\n", 1],
    ["integers", ":0\r\n:-1\r\n:+5\r\n:9223372036854775807\r\n", 4],
    ["nothing", "$-1\r\n*-1\r\n", 2],
    ["texts", "$0\r\n\r\n$3\r\na\r\n\r\n", 2],
    ["a text that holds what looks like replies", "$14\r\n*9\r\n$9\r\n+\r\n-\r\n\r\n", 1],
    ["lists in lists", "*2\r\n*3\r\n:1\r\n$1\r\na\r\n*0\r\n*1\r\n+OK\r\n+OK\r\n", 2],
    ["an empty list", "*0\r\n*0\r\n", 2],
    ["redirections", "-MOVED 1 10.0.0.1:7000\r\n-ASK 16383 [::1]:1\r\n-MOVED 5 :7000\r\n", 3],
    ["as much as the bounds allow", `$93\r\n${"x".repeat(93)}\r\n*8\r\n${"*-1\r\n".repeat(8)}`, 2],
  ])("%s", (_what, bytes, replies) => {
    for (const size of SIZES) {
      expect(faultOf(bytes, replies, size)).toBeUndefined();
      expect(faultOf(bytes, replies - 1, size), "the control: one command less").toBe("REPLY_UNASKED");
    }
  });
});

describe("a guard ends the connection at", () => {
  it.each<[what: string, bytes: string, fault: string]>([
    ["a text that is too long, before it comes", "$1000000000\r\n", "REPLY_TOO_LARGE"],
    ["a text that is too long by a byte", `$94\r\n${"x".repeat(94)}\r\n`, "REPLY_TOO_LARGE"],
    ["a line without an end", `+${"x".repeat(200)}`, "REPLY_TOO_LARGE"],
    ["an error without an end", `-${"x".repeat(200)}`, "REPLY_TOO_LARGE"],
    ["a list that is too long, before it comes", "*30000000\r\n", "REPLY_TOO_LARGE"],
    ["lists in lists that are too long together", "*5\r\n*4\r\n", "REPLY_TOO_LARGE"],
    ["many short texts in one list", `*8\r\n${"$9\r\nxxxxxxxxx\r\n".repeat(8)}`, "REPLY_TOO_LARGE"],
    ["a reply that was not asked for", "+OK\r\n+OK\r\n", "REPLY_UNASKED"],
    ["nothing that was not asked for", "+OK\r\n$-1\r\n", "REPLY_UNASKED"],
    ["a push of RESP3", ">2\r\n+a\r\n+b\r\n", "REPLY_NO_REDIS"],
    ["a map of RESP3", "%30000000\r\n", "REPLY_NO_REDIS"],
    ["a set within a list", "*1\r\n~30000000\r\n", "REPLY_NO_REDIS"],
    ["another protocol", "HTTP/1.1 400 Bad Request\r\n", "REPLY_NO_REDIS"],
    ["a TLS alert", "\x15\x03\x01\x00\x02\x02\x46", "REPLY_NO_REDIS"],
    ["a length that is no number", "$x\r\n", "REPLY_NO_REDIS"],
    ["a negative length", "$-2\r\n", "REPLY_NO_REDIS"],
    ["a list of endless length", "*99999999999\r\n", "REPLY_NO_REDIS"],
    ["an integer that is none", ":1x\r\n", "REPLY_NO_REDIS"],
    ["a line that ends in LF alone", "+OK\n", "REPLY_NO_REDIS"],
    ["a line with a CR of its own, which the parser takes for its end", "$1\r0\r\n", "REPLY_NO_REDIS"],
    ["a redirection to nowhere", "-MOVED 5\r\n", "REPLY_NO_REDIS"],
    ["a redirection of no slot", "-ASK __proto__ a:1\r\n", "REPLY_NO_REDIS"],
  ])("%s", (_what, bytes, fault) => {
    for (const size of SIZES) expect(faultOf(bytes, 1, size)).toBe(fault);
  });
});

it("a guard counts each reply by itself", () => {
  const guard = new ReplyGuard(BOUNDS);
  for (let n = 0; n < 1_000; n++) {
    guard.expect();
    expect(guard.faultOf(Buffer.from(`$80\r\n${"x".repeat(80)}\r\n`))).toBeUndefined();
  }
});
