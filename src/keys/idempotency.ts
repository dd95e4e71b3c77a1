import { createHash } from "node:crypto";
import { DomainError } from "../lib/errors.ts";
import type { IdempotencyKey, RequestUsed } from "./key-store.ts";

/** A caller's request_id (AIP-155) with a digest of the request's parameters; undefined without a request_id. */
export function idempotencyKey(callerId: string, requestId: string, parameters: unknown): IdempotencyKey | undefined {
  if (requestId === "") return undefined;
  const parametersDigest = createHash("sha256").update(canonicalJson(parameters)).digest();
  return { callerId, requestId: requestId.toLowerCase(), parametersDigest };
}

/** The error for a request_id that was used before. The secret is not shown again. */
export function requestUsedError(used: RequestUsed, idName: "key_id" | "credential_id"): DomainError {
  if (!used.sameParameters) {
    return new DomainError("REQUEST_ID_REUSED", "request_id: was used for a request with other parameters", {
      violations: [{ field: "request_id", description: "was used for a request with other parameters" }],
    });
  }
  return new DomainError("REQUEST_ID_USED", "this request was carried out before; its secret is not shown again", {
    metadata: { [idName]: used.keyId },
  });
}

/** JSON with sorted object names, so that equal values have equal texts. */
function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_name, inner: unknown) => {
    if (inner === null || typeof inner !== "object" || Array.isArray(inner)) return inner;
    return Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}
