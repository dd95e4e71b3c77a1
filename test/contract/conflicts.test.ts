import { describe, expect, it } from "vitest";
import { DomainError } from "../../src/lib/errors.ts";
import { toDomainError } from "../../src/postgres/errors/driver-errors.ts";

const failure = (code: string) => Object.assign(new Error("a message of the driver"), { code });
const reasonOf = (error: unknown) => (error instanceof DomainError ? error.reason : "itself");

describe("an error of the driver", () => {
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
  ])("with code %s counts as an unreachable database", (code) => {
    expect(reasonOf(toDomainError(new Error("the ORM's", { cause: failure(code) })))).toBe("DATABASE_UNAVAILABLE");
  });

  it.each(["40001", "40P01", "55P03"])("with code %s counts as contention", (code) => {
    expect(reasonOf(toDomainError(failure(code)))).toBe("CONTENTION");
  });

  it.each(["23505", "23503", "22P02", "42601", "42P07", "25P02", "ENOENT", "ERR_INVALID_ARG_TYPE"])(
    "with code %s counts as a bug of this service, and stays unchanged",
    (code) => {
      const error = failure(code);
      expect(toDomainError(error)).toBe(error);
    },
  );
});
