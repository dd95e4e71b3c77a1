import { mutantsOf } from "./tested-mutant.ts";

const PEOPLE = ["test/auth/people.test.ts", "test/auth/sessions.test.ts"];
const THROTTLE = ["test/auth/login-throttle.test.ts"];

/** Passwords, guessing, accounts. */
export const AUTH_MUTANTS = [
  ...mutantsOf(
    "src/auth/password-rules.ts",
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
    "src/auth/password.ts",
    ["test/auth/password.test.ts"],
    [
      {
        name: "no hash where there is no account",
        search: "      await this.#hash(password);\n      return false;",
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
  ...mutantsOf(
    "src/auth/hash-turns.ts",
    ["test/auth/password.test.ts"],
    [
      {
        name: "a queue without an end",
        search: "if (this.#places >= this.#options.concurrency + this.#options.maxQueue) throw overloaded();",
        replacement: "",
        why: "a burst of logins is answered when everybody is gone",
      },
      {
        name: "one hash more at once",
        search: "this.#running >= this.#options.concurrency",
        replacement: "this.#running > this.#options.concurrency",
        why: "hashes take the core that serves everything else",
      },
      {
        name: "turns that are not given back",
        search: "if (next === undefined) this.#running--;",
        replacement: "if (next === undefined) this.#running -= 0;",
        why: "after a few logins nobody gets in any more",
      },
      {
        name: "places that are not given back",
        search: "    this.#places--;\n",
        replacement: "",
        why: "after a few dozen logins nobody gets in any more",
      },
      {
        name: "waiting without an end",
        search: "      this.#onLate?.();\n",
        replacement: "",
        why: "people wait for a hash long after their client gave up",
      },
    ],
  ),
  ...mutantsOf(
    "src/auth/login-limits.ts",
    ["test/auth/login-limits.test.ts"],
    [
      {
        name: "one more failure for free",
        search: "if (ofNetwork < freeFailures ||",
        replacement: "if (ofNetwork <= freeFailures ||",
        why: "the figure is not the one that was decided",
      },
      {
        name: "waits that grow slowly",
        search: "firstWaitMs * 2 ** (ofNetwork - freeFailures)",
        replacement: "firstWaitMs * (ofNetwork - freeFailures + 1)",
        why: "hundreds of guesses a day instead of dozens",
      },
      {
        name: "a hundred and ten failures in a row",
        search: "maxFailures: 100,",
        replacement: "maxFailures: 110,",
        why: "above what NIST allows",
      },
      {
        name: "strangers try once more",
        search: "if (failures.ofAccount < openFailures) return 0;",
        replacement: "if (failures.ofAccount <= openFailures) return 0;",
        why: "the failures kept for the owner's networks are used up by others",
      },
      {
        name: "networks known for ever",
        search: " && nowMs < networkLoggedInAtMs + LOGIN_LIMITS.knownNetworkMs",
        replacement: "",
        why: "a café of years ago is still no stranger",
      },
      {
        name: "twenty-one failures of an address",
        search: "windowWait(addressFailedAtMs, LOGIN_LIMITS.addressFailures, nowMs)",
        replacement: "windowWait(addressFailedAtMs, LOGIN_LIMITS.addressFailures + 1, nowMs)",
        why: "the figure is not the one that was decided",
      },
      {
        name: "told to come back too early",
        search: "Math.ceil(waitMs / SECOND_MS)",
        replacement: "Math.floor(waitMs / SECOND_MS)",
        why: "who comes back when told to is refused again",
      },
      {
        name: "a clock that stepped back makes people wait for it",
        search: "return Math.min(networkFailedAtMs + waitMs - nowMs, waitMs);",
        replacement: "return networkFailedAtMs + waitMs - nowMs;",
        why: "a wait of a second becomes one of hours",
      },
    ],
  ),
  ...mutantsOf(
    "src/auth/login-network.ts",
    ["test/auth/login-network.test.ts"],
    [
      {
        name: "an IPv6 host is one address",
        search: "return prefixOf(ip, 32, 64);",
        replacement: "return prefixOf(ip, 32, 128);",
        why: "one machine has 2^64 addresses, each with its own limit",
      },
    ],
  ),
  ...mutantsOf(
    "src/lib/ip.ts",
    ["test/auth/login-network.test.ts"],
    [
      {
        name: "mapped IPv4 is one IPv6 network",
        search: "if (value >> 32n !== 0xffffn) return undefined;",
        replacement: "if (value >> 32n !== 0x10000n) return undefined;",
        why: "all of IPv4 shares one limit, and locks itself out",
      },
    ],
  ),
  ...mutantsOf("src/auth/login-throttle.ts", THROTTLE, [
    {
      name: "failures under the newest key only",
      search: "return [digest(current), ...others.map(digest)];",
      replacement: "return [digest(current), ...others.slice(1).map(digest)];",
      why: "a rotation of the master key gives everybody a hundred more guesses",
    },
    {
      name: "attempts never refused when counted",
      search: 'if ("retryAfterMs" in outcome) throw this.#refused(outcome);',
      replacement: 'if ("retryAfterMs" in outcome) return;',
      why: "parallel guesses outrun the limits",
    },
    {
      name: "success takes nothing back",
      search: "      await this.#deps.store.succeed(this.#subject, this.#counted);\n",
      replacement: "",
      why: "each login is a failure: people lock themselves out",
    },
  ]),
  ...mutantsOf("src/auth/login.ts", THROTTLE, [
    {
      name: "throttled attempts wait in the queue",
      search: "  await attempt.check();\n",
      replacement: "",
      why: "attackers keep people from logging in",
    },
  ]),
  ...mutantsOf("src/auth/change-password.ts", THROTTLE, [
    {
      name: "ChangePassword guesses for free",
      search: "emailNormalized, isGuess: true }",
      replacement: "emailNormalized, isGuess: false }",
      why: "whoever stole an access token guesses the password",
    },
  ]),
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
