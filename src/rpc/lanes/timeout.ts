import { DAY_MS, HOUR_MS, MINUTE_MS } from "../../lib/clock.ts";
import { DomainError } from "../../lib/errors.ts";

/** Maximum timeout: a longer one is cut, because a Node timer of 2^31 ms (24.9 days) or more fires immediately. */
const MAX_TIMEOUT_MS = 24 * DAY_MS;

const UNIT_MS: Readonly<Record<string, number>> = {
  H: HOUR_MS,
  M: MINUTE_MS,
  S: 1000,
  m: 1,
  u: 0.001,
  n: 0.000_001,
};

/**
 * The timeout of a call in milliseconds, from the values of its header; undefined without a header. For a malformed
 * header it returns the error instead of throwing it, because a call must begin before it can fail.
 */
export function readTimeout(
  name: "grpc-timeout" | "connect-timeout-ms",
  values: readonly string[],
): number | DomainError | undefined {
  if (values.length === 0) return undefined;
  // Joined values are malformed, so a second header is an error, too.
  const text = values.join(",");
  try {
    return name === "grpc-timeout" ? parseGrpcTimeout(text) : parseConnectTimeout(text);
  } catch (error) {
    return error as DomainError;
  }
}

/**
 * Milliseconds of a `grpc-timeout` header: at most eight digits and a unit (gRPC over HTTP/2, "Timeout").
 *
 * @throws {DomainError} MESSAGE_INVALID
 */
export function parseGrpcTimeout(text: string): number {
  const unitMs = UNIT_MS[text.at(-1) ?? ""];
  if (unitMs === undefined || !/^\d{1,8}.$/.test(text)) throw badTimeout("grpc-timeout");
  return Math.min(Number(text.slice(0, -1)) * unitMs, MAX_TIMEOUT_MS);
}

/**
 * Milliseconds of a `connect-timeout-ms` header: at most ten digits (Connect protocol, "Timeout").
 *
 * @throws {DomainError} MESSAGE_INVALID
 */
export function parseConnectTimeout(text: string): number {
  if (!/^\d{1,10}$/.test(text)) throw badTimeout("connect-timeout-ms");
  return Math.min(Number(text), MAX_TIMEOUT_MS);
}

function badTimeout(header: string): DomainError {
  return new DomainError("MESSAGE_INVALID", `malformed ${header}`);
}
