import { mutantsOf } from "./tested-mutant.ts";

const PEOPLE = ["test/auth/people.test.ts", "test/auth/sessions.test.ts"];

/** Passwords and accounts. */
export const AUTH_MUTANTS = [
  ...mutantsOf(
    "src/auth/passwords/password-rules.ts",
    ["test/auth/password-rules.test.ts"],
    [
      {
        name: "passwords counted in UTF-16",
        search: "const length = codePoints(password);",
        replacement: "const length = password.length;",
        why: "eight emoji are fifteen characters",
      },
      {
        name: "passwords in any normal form",
        search: 'return password.normalize("NFC");',
        replacement: "return password;",
        why: "another keyboard can't log in",
      },
      {
        name: "common passwords",
        search: "if (isCommonPassword(password)) {",
        replacement: 'if (password === "") {',
        why: "what attackers try first gets them in",
      },
      {
        name: "the address as password in another case",
        search: "password.toLowerCase() === normalizePassword(input.email).toLowerCase()",
        replacement: "password === normalizePassword(input.email)",
        why: "what attackers try first gets them in",
      },
      {
        name: "passwords of any length",
        search: "Buffer.byteLength(normalizePassword(password)) > MAX_PASSWORD_BYTES ?",
        replacement: "Buffer.byteLength(normalizePassword(password)) > MAX_GIVEN_BYTES ?",
        why: "the work of a hash is not bounded as promised",
      },
    ],
  ),
  ...mutantsOf(
    "src/auth/passwords/password.ts",
    ["test/auth/password.test.ts"],
    [
      {
        name: "no hash where there is no account",
        search: "      await this.hash(password);\n      return false;",
        replacement: "      return false;",
        why: "the time of an answer tells who has an account",
      },
      {
        name: "hashes that keep an old secret",
        search: " || ring.isBehind(encoded.secretVersion)",
        replacement: "",
        why: "a master key that leaked can never be taken out of the ring",
      },
      {
        name: "hashes that get weaker",
        search: "encoded.memoryKib < memoryKib ||",
        replacement: "encoded.memoryKib !== memoryKib ||",
        why: "lower parameters replace hashes that were made with higher ones",
      },
    ],
  ),
  ...mutantsOf("src/auth/change-password.ts", PEOPLE, [
    {
      name: "the current password not asked for",
      search: '  if (!matched) throw passwordWrong(attempt.failed(found.user.id, "change_password"));\n',
      replacement: "",
      why: "whoever stole an access token takes the account",
    },
  ]),
  ...mutantsOf("src/auth/login.ts", PEOPLE, [
    {
      name: "any password",
      search: "if (found === undefined || !matched) throw loginFailed(",
      replacement: "if (found === undefined) throw loginFailed(",
      why: "an address is enough to log in",
    },

    {
      name: "old hashes kept",
      search: "!deps.passwords.needsRehash(found.passwordHash)",
      replacement: "found.passwordHash.length > 0",
      why: "parameters that were raised reach nobody",
    },
  ]),
  ...mutantsOf("src/auth/complete-password-reset.ts", PEOPLE, [
    {
      name: "weak passwords by a reset token",
      search: "if (violation !== undefined) throw invalidFields([violation]);",
      replacement: "",
      why: "a way around the rules",
    },
  ]),
  ...mutantsOf("src/auth/revoke-session.ts", PEOPLE, [
    {
      name: "people end others' sessions",
      search: "end({ id: sessionId, userId, why",
      replacement: "end({ id: sessionId, why",
      why: "an id is enough to log somebody out",
    },
  ]),
  ...mutantsOf("src/auth/register.ts", PEOPLE, [
    {
      name: "closed registration is open",
      search: "if (!deps.registrationOpen) {",
      replacement: 'if (input.email === "") {',
      why: "strangers get accounts",
    },
  ]),
  ...mutantsOf(
    "src/auth/email.ts",
    ["test/auth/email.test.ts"],
    [
      {
        name: "all of Unicode folded",
        search: "return text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());",
        replacement: "return text.toLowerCase();",
        why: "the addresses of two people are one account",
      },
      {
        name: "letters that devices compose differently",
        search: 'asciiLowerCase(local.normalize("NFC"))',
        replacement: "asciiLowerCase(local)",
        why: "people are refused with the very address that they see",
      },
      {
        name: "variation selectors in new addresses",
        search: " || INVISIBLE.test(text)",
        replacement: "",
        why: "an account that looks like another's",
      },
      {
        name: "invisible characters in addresses",
        search: "if (SPACE_OR_CONTROL.test(text)) return undefined;",
        replacement: "",
        why: "an account that looks like another's",
      },
    ],
  ),
];
