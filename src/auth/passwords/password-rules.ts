import type { Violation } from "../../lib/errors.ts";
import { codePoints } from "../../lib/text.ts";
import { isCommonPassword } from "./password-blocklist.ts";

/**
 * The rules for passwords, by NIST SP 800-63B-4, 3.1.1.2: a length and a blocklist, but no rules of composition and no
 * expiry. Lengths are counted in code points after normalisation.
 */
export interface PasswordRules {
  /** NIST requires 15 if the password is the only factor. */
  readonly minCodePoints: number;
}

export const MAX_PASSWORD_CODE_POINTS = 256;
/** Bounds the work of a hash. */
export const MAX_PASSWORD_BYTES = 1024;
/** Maximum bytes before normalisation, which may shorten a text: NFD needs up to three times the bytes of NFC. */
const MAX_GIVEN_BYTES = 4 * MAX_PASSWORD_BYTES;

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this looks for
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/;

/**
 * More combining marks in a row than any text needs: UAX #15 (Stream-Safe Text Format) allows 30. The time of
 * normalisation grows with the square of the length of such a run.
 */
const TOO_MANY_MARKS = /\p{M}{31}/u;

/** The form in which passwords are hashed and compared: Unicode NFC, because keyboards differ in how they compose. */
export function normalizePassword(password: string): string {
  return password.normalize("NFC");
}

/**
 * The fault of a text that can't be a password, new or old: ill-formed, with control characters, or too large to hash.
 * Cheap for any input.
 */
export function passwordFormViolation(field: string, password: string): Violation | undefined {
  const tooLong = () => violation(field, "PASSWORD_TOO_LONG", `must have at most ${MAX_PASSWORD_BYTES} bytes`);
  if (password.length > MAX_GIVEN_BYTES || Buffer.byteLength(password) > MAX_GIVEN_BYTES) return tooLong();
  if (!password.isWellFormed()) return violation(field, "PASSWORD_MALFORMED", "must be well-formed Unicode");
  if (CONTROL.test(password)) return violation(field, "PASSWORD_MALFORMED", "must not contain control characters");
  if (TOO_MANY_MARKS.test(password)) {
    return violation(field, "PASSWORD_MALFORMED", "must not have more than 30 combining marks in a row");
  }
  return Buffer.byteLength(normalizePassword(password)) > MAX_PASSWORD_BYTES ? tooLong() : undefined;
}

/**
 * The fault of a new password, or undefined. Its reason is PASSWORD_MALFORMED, PASSWORD_TOO_SHORT, PASSWORD_TOO_LONG,
 * PASSWORD_COMMON or PASSWORD_IS_EMAIL.
 */
export function passwordViolation(
  rules: PasswordRules,
  input: { readonly field: string; readonly password: string; readonly email: string },
): Violation | undefined {
  const { field } = input;
  const malformed = passwordFormViolation(field, input.password);
  if (malformed !== undefined) return malformed;
  const password = normalizePassword(input.password);
  const length = codePoints(password);
  if (length < rules.minCodePoints) {
    return violation(field, "PASSWORD_TOO_SHORT", `must have at least ${rules.minCodePoints} characters`);
  }
  if (length > MAX_PASSWORD_CODE_POINTS) {
    return violation(field, "PASSWORD_TOO_LONG", `must have at most ${MAX_PASSWORD_CODE_POINTS} characters`);
  }
  if (password.toLowerCase() === normalizePassword(input.email).toLowerCase()) {
    return violation(field, "PASSWORD_IS_EMAIL", "must not be the e-mail address");
  }
  if (isCommonPassword(password)) {
    return violation(field, "PASSWORD_COMMON", "must not be a password that attackers try first");
  }
  return undefined;
}

function violation(field: string, reason: string, description: string): Violation {
  return { field, description, reason };
}
