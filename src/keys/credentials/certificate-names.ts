/** The names of client certificates on a credential's list. */
import { certificateName, MAX_CERTIFICATE_NAME_BYTES } from "../../lib/certificate-name.ts";
import { DomainError, invalidField } from "../../lib/errors.ts";
import type { NameTaken } from "../key-store.ts";

/** Maximum names of one credential. */
const MAX_NAMES = 16;
/** Maximum characters of the names in one audit event. */
const MAX_TEXT = 1000;

/**
 * The names in the form by which they are compared, in alphabetical order.
 *
 * @param field the path of the list in the request
 * @throws INVALID_FIELD
 */
export function checkCertificateNames(field: string, names: readonly string[]): readonly string[] {
  if (names.length > MAX_NAMES) throw invalidField(field, `must have at most ${MAX_NAMES} names`);
  const checked = names.map((name, at) => {
    const known = certificateName(name);
    if (known === undefined) throw invalidField(`${field}[${at}]`, FORM);
    return known;
  });
  if (new Set(checked).size < checked.length) throw invalidField(field, "must have each name once");
  return Object.freeze(checked.sort());
}

const FORM =
  `must be a DNS name such as orders.internal, or a URI such as spiffe://example.org/orders, ` +
  `without wildcards and with at most ${MAX_CERTIFICATE_NAME_BYTES} bytes`;

/** The names as an audit detail; nothing without names. No name has a space. */
export function namesDetails(detail: string, names: readonly string[]): Record<string, string> {
  if (names.length === 0) return {};
  const text = names.join(" ");
  return { [detail]: text.length <= MAX_TEXT ? text : `${text.slice(0, MAX_TEXT)}... (${names.length} names)` };
}

/** The error of a name that stands for another credential. Only operators see that credential's id. */
export function nameTaken({ name, keyId }: NameTaken): DomainError {
  return new DomainError("CERTIFICATE_NAME_TAKEN", `another credential has the certificate name ${name}`, {
    metadata: { credential_id: keyId, certificate_name: name },
  });
}
