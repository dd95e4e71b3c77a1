import type { Violation } from "../../lib/errors.ts";
import { codePoints } from "../../lib/text.ts";
import { isCommonPassword } from "./password-blocklist.ts";

/**
 * NIST SP 800-63B-4, 3.1.1.2: length and a blocklist, no rules of composition, no expiry; lengths are counted in code
 * points after normalisation.
 */
export interface PasswordRules {
  /** 15 where the password is the only factor. */
  readonly minCodePoints: number;
}

export const MAX_PASSWORD_CODE_POINTS = 256;
/** Bounds the work of a hash. */
export const MAX_PASSWORD_BYTES = 1024;
/** Before normalisation, which may shorten: NFD needs up to three times the bytes of NFC. */
const MAX_GIVEN_BYTES = 4 * MAX_PASSWORD_BYTES;

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this looks for
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/;

/**
 * More combining marks in a row than text has: UAX #15 (Stream-Safe Text Format) draws the line at 30. The time that
 * normalisation takes grows with the square of such a run.
 */
const TOO_MANY_MARKS = /\p{M}{31}/u;

/** The form in which passwords are hashed and compared: Unicode NFC, so that any keyboard's form of it is the same. */
export function normalizePassword(password: string): string {
  return password.normalize("NFC");
}

/**
 * What no password can be, whether it is being set or tried: ill-formed, with control characters, or too large to hash.
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
 * What is wrong with a password that someone wants to set, or undefined. The reason is one of PASSWORD_MALFORMED,
 * PASSWORD_TOO_SHORT, PASSWORD_TOO_LONG, PASSWORD_COMMON and PASSWORD_IS_EMAIL.
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
