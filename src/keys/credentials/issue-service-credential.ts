import { type Actor, actedBy } from "../../audit/actor.ts";
import type { DatabaseClock } from "../../changes/database-clock.ts";
import { invalidField } from "../../lib/errors.ts";
import type { KeyRing } from "../../lib/key-ring.ts";
import { idempotencyKey, requestUsedError } from "../idempotency.ts";
import type { Key } from "../key.ts";
import { checkKeyFields, checkRequestId } from "../key-fields.ts";
import { type KeyFormat, SERVICE_ENVIRONMENT } from "../key-form.ts";
import { newSecret } from "../key-secret.ts";
import type { KeyStore } from "../key-store.ts";
import { checkCertificateNames, namesDetails, nameTaken } from "./certificate-names.ts";
import { CREDENTIAL_SCOPES } from "./service-credential.ts";

export interface IssueServiceCredentialDeps {
  readonly store: Pick<KeyStore, "insert">;
  readonly ring: KeyRing;
  readonly format: KeyFormat;
  readonly databaseClock: DatabaseClock;
}

export interface IssueServiceCredentialInput {
  /** The actor with an admin credential, or `bootstrap` for the first credential. */
  readonly by: Actor;
  readonly name: string;
  readonly scopes: readonly string[];
  readonly expiresAtMs: number | undefined;
  readonly requestId: string;
  /** Names of client certificates that stand for it. Default: none. */
  readonly certificateNames?: readonly string[];
}

/**
 * Issues a credential for a service or an operator.
 *
 * @throws INVALID_FIELD, CERTIFICATE_NAME_TAKEN, REQUEST_ID_USED, REQUEST_ID_REUSED, DATABASE_UNAVAILABLE
 */
export async function issueServiceCredential(
  deps: IssueServiceCredentialDeps,
  input: IssueServiceCredentialInput,
): Promise<{ readonly credential: Key; readonly secret: string }> {
  checkKeyFields({ name: input.name, expiresAtMs: input.expiresAtMs }, deps.databaseClock.nowMs());
  checkRequestId(input.requestId);
  checkCredentialScopes(input.scopes);
  const made = newSecret(deps.ring, deps.format, SERVICE_ENVIRONMENT);
  const certificateNames = checkCertificateNames("certificate_names", input.certificateNames ?? []);
  const { by, requestId, certificateNames: _, ...same } = input;
  // Without names the digest is that of earlier versions, whose calls may be retried here.
  const parameters = certificateNames.length === 0 ? same : { ...same, certificateNames };
  const newKey = {
    key: {
      id: made.keyId,
      kind: "service" as const,
      environment: SERVICE_ENVIRONMENT,
      prefix: made.displayPrefix,
      name: input.name,
      description: "",
      ownerId: undefined,
      issuerId: by.id,
      tier: "",
      scopes: input.scopes,
      metadata: {},
      allowedIps: [],
      allowedMethods: [],
      certificateNames,
      limits: { perMinute: undefined, perDay: undefined },
      serviceControlled: true,
      expiresAtMs: input.expiresAtMs,
    },
    secret: made.secret,
    request: idempotencyKey(by.id, requestId, { credential: parameters }),
    ownerQuota: undefined,
  };
  const outcome = await deps.store.insert(newKey, {
    kind: "credential.issued",
    ...actedBy(by),
    details: { scopes: input.scopes.join(","), ...namesDetails("certificate_names", certificateNames) },
  });
  if (outcome.kind === "inserted") return { credential: outcome.key, secret: made.rawKey };
  if (outcome.kind === "request_used") throw requestUsedError(outcome, "credential_id");
  if (outcome.kind === "name_taken") throw nameTaken(outcome);
  throw new Error(`a credential has no owner, but its insert answered ${outcome.kind}`);
}

function checkCredentialScopes(scopes: readonly string[]): void {
  const known: readonly string[] = CREDENTIAL_SCOPES;
  if (scopes.length === 0 || scopes.some((scope) => !known.includes(scope)) || new Set(scopes).size < scopes.length) {
    throw invalidField("scopes", `must be one or more of ${known.join(", ")}, each once`);
  }
}
