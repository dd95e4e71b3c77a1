import { type IssueServiceCredentialDeps, issueServiceCredential } from "./issue-service-credential.ts";
import type { KeyStore } from "./key-store.ts";

export interface BootstrapOperatorDeps extends IssueServiceCredentialDeps {
  readonly store: IssueServiceCredentialDeps["store"] & Pick<KeyStore, "hasUsableCredential">;
}

/** Issuer of credentials that no credential issued. */
const BOOTSTRAP = { id: "bootstrap", clientIp: "" };

/**
 * Issues the first operator's credential. To be called while the lock of migrations is held, so that two can't both be
 * first.
 *
 * @param force also where an operator could act: for when all credentials are lost
 * @returns undefined where a usable admin credential exists and `force` is false
 */
export async function bootstrapOperator(
  deps: BootstrapOperatorDeps,
  { force }: { readonly force: boolean },
): Promise<{ readonly credentialId: string; readonly secret: string } | undefined> {
  if (!force && (await deps.store.hasUsableCredential("admin"))) return undefined;
  const input = { name: "bootstrap", scopes: ["admin"], expiresAtMs: undefined, requestId: "" };
  const { credential, secret } = await issueServiceCredential(deps, BOOTSTRAP, input);
  return { credentialId: credential.id, secret };
}
