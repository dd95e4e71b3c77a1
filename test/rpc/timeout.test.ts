import { expect, it } from "vitest";
import { parseConnectTimeout, parseGrpcTimeout } from "../../src/rpc/lanes/timeout.ts";

/** The longest timeout: below the limit of a timer, with room for rounding up to a step of deadlines. */
const LONGEST = 24 * 86_400_000;

it.each([
  ["1H", 3_600_000],
  ["2M", 120_000],
  ["3S", 3000],
  ["4m", 4],
  ["5u", 0.005],
  ["1000000n", 1],
  ["0m", 0],
  ["00000007S", 7000],
  ["99999999H", LONGEST],
])("grpc-timeout %s is read as %d ms", (text, ms) => {
  expect(parseGrpcTimeout(text)).toBeCloseTo(ms, 9);
});

it.each(["", "1", "S", "1s", "1 S", "-1S", "+1S", "1.5S", "123456789m", "1S,1S", "1S\n", "٣S"])(
  "grpc-timeout %j is refused",
  (text) => {
    expect(() => parseGrpcTimeout(text)).toThrow("malformed grpc-timeout");
  },
);

it.each([
  ["0", 0],
  ["1500", 1500],
  ["9999999999", LONGEST],
])("connect-timeout-ms %s is read as %d ms", (text, ms) => {
  expect(parseConnectTimeout(text)).toBe(ms);
});

it.each(["", "-1", "1.5", "1s", "12345678901", "1,1"])("connect-timeout-ms %j is refused", (text) => {
  expect(() => parseConnectTimeout(text)).toThrow("malformed connect-timeout-ms");
});
