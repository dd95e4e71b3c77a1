import type { KeyStore } from "../key-store.ts";
import { type IssueServiceCredentialDeps, issueServiceCredential } from "./issue-service-credential.ts";

export interface BootstrapOperatorDeps extends IssueServiceCredentialDeps {
  readonly store: IssueServiceCredentialDeps["store"] & Pick<KeyStore, "hasUsableCredential">;
}

/** The issuer of a credential that no other credential issued. */
const BOOTSTRAP = { id: "bootstrap", clientIp: "" };

/**
 * Issues the credential of the first operator. Call it while holding the lock of migrations, so that two callers can't
 * both be the first one.
 *
 * @param force issues a credential even if an operator has a usable one, because all secrets may be lost
 * @returns undefined if a usable admin credential exists and `force` is false
 */
export async function bootstrapOperator(
  deps: BootstrapOperatorDeps,
  { force }: { readonly force: boolean },
): Promise<{ readonly credentialId: string; readonly secret: string } | undefined> {
  if (!force && (await deps.store.hasUsableCredential("admin"))) return undefined;
  const input = { by: BOOTSTRAP, name: "bootstrap", scopes: ["admin"], expiresAtMs: undefined, requestId: "" };
  const { credential, secret } = await issueServiceCredential(deps, input);
  return { credentialId: credential.id, secret };
}
