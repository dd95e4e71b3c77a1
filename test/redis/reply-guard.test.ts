import { describe, expect, it } from "vitest";
import { ReplyGuard } from "../../src/redis/reply-guard.ts";

const BOUNDS = { bytes: 100, entries: 8 };

/** The guard's fault for bytes that arrive in pieces of `size`, after `commands` were sent. */
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

/** Sizes of the pieces: a byte, all at once, and some between. */
const SIZES = [1, 2, 3, 7, 1_000];

describe("a reply guard", () => {
  it.each<[what: string, bytes: string, replies: number]>([
    ["a status", "+OK\r\n", 1],
    ["an error", "-WRONGPASS invalid username-password pair or user is disabled.\r\n", 1],
    ["integers", ":0\r\n:-1\r\n:+5\r\n:9223372036854775807\r\n", 4],
    ["nothing", "$-1\r\n*-1\r\n", 2],
    ["texts", "$0\r\n\r\n$3\r\na\r\n\r\n", 2],
    ["a text that contains bytes like replies", "$14\r\n*9\r\n$9\r\n+\r\n-\r\n\r\n", 1],
    ["lists inside lists", "*2\r\n*3\r\n:1\r\n$1\r\na\r\n*0\r\n*1\r\n+OK\r\n+OK\r\n", 2],
    ["an empty list", "*0\r\n*0\r\n", 2],
    ["redirections", "-MOVED 1 10.0.0.1:7000\r\n-ASK 16383 [::1]:1\r\n-MOVED 5 :7000\r\n", 3],
    ["as much as the bounds allow", `$93\r\n${"x".repeat(93)}\r\n*8\r\n${"*-1\r\n".repeat(8)}`, 2],
  ])("lets %s through", (_what, bytes, replies) => {
    for (const size of SIZES) {
      expect(faultOf(bytes, replies, size)).toBeUndefined();
      expect(faultOf(bytes, replies - 1, size), "the control: one command fewer").toBe("REPLY_UNASKED");
    }
  });
});

describe("a reply guard", () => {
  it.each<[what: string, bytes: string, fault: string]>([
    ["a text that is too long, before it comes", "$1000000000\r\n", "REPLY_TOO_LARGE"],
    ["a text that is one byte too long", `$94\r\n${"x".repeat(94)}\r\n`, "REPLY_TOO_LARGE"],
    ["an endless line", `+${"x".repeat(200)}`, "REPLY_TOO_LARGE"],
    ["an endless error", `-${"x".repeat(200)}`, "REPLY_TOO_LARGE"],
    ["a list that is too long, before it comes", "*30000000\r\n", "REPLY_TOO_LARGE"],
    ["lists inside lists that are too long together", "*5\r\n*4\r\n", "REPLY_TOO_LARGE"],
    ["many short texts in one list", `*8\r\n${"$9\r\nxxxxxxxxx\r\n".repeat(8)}`, "REPLY_TOO_LARGE"],
    ["a reply that was not asked for", "+OK\r\n+OK\r\n", "REPLY_UNASKED"],
    ["a null reply that was not asked for", "+OK\r\n$-1\r\n", "REPLY_UNASKED"],
    ["a push of RESP3", ">2\r\n+a\r\n+b\r\n", "REPLY_NO_REDIS"],
    ["a map of RESP3", "%30000000\r\n", "REPLY_NO_REDIS"],
    ["a set within a list", "*1\r\n~30000000\r\n", "REPLY_NO_REDIS"],
    ["another protocol", "HTTP/1.1 400 Bad Request\r\n", "REPLY_NO_REDIS"],
    ["a TLS alert", "\x15\x03\x01\x00\x02\x02\x46", "REPLY_NO_REDIS"],
    ["a length that is not a number", "$x\r\n", "REPLY_NO_REDIS"],
    ["a negative length", "$-2\r\n", "REPLY_NO_REDIS"],
    ["a list of 99999999999 entries", "*99999999999\r\n", "REPLY_NO_REDIS"],
    ["an integer with a letter", ":1x\r\n", "REPLY_NO_REDIS"],
    ["a line that ends in LF alone", "+OK\n", "REPLY_NO_REDIS"],
    ["a line with another CR, which the parser takes as its end", "$1\r0\r\n", "REPLY_NO_REDIS"],
    ["a redirection without a node", "-MOVED 5\r\n", "REPLY_NO_REDIS"],
    ["a redirection without a slot", "-ASK __proto__ a:1\r\n", "REPLY_NO_REDIS"],
  ])("ends the connection at %s", (_what, bytes, fault) => {
    for (const size of SIZES) expect(faultOf(bytes, 1, size)).toBe(fault);
  });
});

it("a guard counts the bytes of each reply separately", () => {
  const guard = new ReplyGuard(BOUNDS);
  for (let n = 0; n < 1_000; n++) {
    guard.expect();
    expect(guard.faultOf(Buffer.from(`$80\r\n${"x".repeat(80)}\r\n`))).toBeUndefined();
  }
});
