import { expect, test } from "vitest";
import { parseConnectTimeout, parseGrpcTimeout } from "../../src/rpc/lanes/timeout.ts";

/** Less than what a timer takes, with room for the step that it is rounded up to. */
const LONGEST = 24 * 86_400_000;

test.each([
  ["1H", 3_600_000],
  ["2M", 120_000],
  ["3S", 3000],
  ["4m", 4],
  ["5u", 0.005],
  ["1000000n", 1],
  ["0m", 0],
  ["00000007S", 7000],
  ["99999999H", LONGEST],
])("grpc-timeout %s is %d ms", (text, ms) => {
  expect(parseGrpcTimeout(text)).toBeCloseTo(ms, 9);
});

test.each(["", "1", "S", "1s", "1 S", "-1S", "+1S", "1.5S", "123456789m", "1S,1S", "1S\n", "٣S"])(
  "grpc-timeout %j is refused",
  (text) => {
    expect(() => parseGrpcTimeout(text)).toThrow("malformed grpc-timeout");
  },
);

test.each([
  ["0", 0],
  ["1500", 1500],
  ["9999999999", LONGEST],
])("connect-timeout-ms %s is %d ms", (text, ms) => {
  expect(parseConnectTimeout(text)).toBe(ms);
});

test.each(["", "-1", "1.5", "1s", "12345678901", "1,1"])("connect-timeout-ms %j is refused", (text) => {
  expect(() => parseConnectTimeout(text)).toThrow("malformed connect-timeout-ms");
});
