import { describe, expect, it } from "vitest";
import { DomainError } from "../../src/lib/errors.ts";
import { toDomainError } from "../../src/postgres/errors/driver-errors.ts";

const failure = (code: string) => Object.assign(new Error("what a driver says"), { code });
const reasonOf = (error: unknown) => (error instanceof DomainError ? error.reason : "itself");

describe("a failure of the database", () => {
  it.each([
    ...["ECONNREFUSED", "ECONNRESET", "ECONNABORTED", "EPIPE", "ETIMEDOUT", "EHOSTUNREACH", "ENETUNREACH", "ENETDOWN"],
    ...["EMFILE", "ENFILE", "ENOBUFS", "EADDRNOTAVAIL", "ENOTFOUND", "EAI_AGAIN", "EAI_FAIL", "EAI_NODATA", "EPROTO"],
    ...[
      "CERT_HAS_EXPIRED",
      "ERR_TLS_CERT_ALTNAME_INVALID",
      "SELF_SIGNED_CERT_IN_CHAIN",
      "ERR_SSL_WRONG_VERSION_NUMBER",
    ],
    ...["DEPTH_ZERO_SELF_SIGNED_CERT", "UNABLE_TO_VERIFY_LEAF_SIGNATURE", "UNABLE_TO_GET_ISSUER_CERT_LOCALLY"],
    ...["08006", "53300", "57P01", "57014", "58000", "58030", "58P01", "XX000", "XX001", "XX002", "25P03", "25P04"],
    ...["25006", "0A000", "28P01", "28000", "3D000", "42P01", "42501", "08P01"],
  ])("by %s is a database that is away", (code) => {
    expect(reasonOf(toDomainError(new Error("the ORM's", { cause: failure(code) })))).toBe("DATABASE_UNAVAILABLE");
  });

  it.each(["40001", "40P01", "55P03"])("by %s is contention", (code) => {
    expect(reasonOf(toDomainError(failure(code)))).toBe("CONTENTION");
  });

  it.each(["23505", "23503", "22P02", "42601", "42P07", "25P02", "ENOENT", "ERR_INVALID_ARG_TYPE"])(
    "by %s is a fault of ours, told as it is",
    (code) => {
      const error = failure(code);
      expect(toDomainError(error)).toBe(error);
    },
  );
});
