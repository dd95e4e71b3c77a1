import { mutantsOf } from "./tested-mutant.ts";

const THROTTLE = ["test/auth/login-throttle.test.ts"];

/** Guessing, and whose turn it is to have a hash. */
export const THROTTLE_MUTANTS = [
  ...mutantsOf(
    "src/auth/passwords/hash-turns.ts",
    ["test/auth/password.test.ts"],
    [
      {
        name: "a queue without an end",
        search: "      queue: maxQueue,\n    });\n    this.#maxWaitMs",
        replacement: "      queue: 1e6,\n    });\n    this.#maxWaitMs",
        why: "a burst of logins is answered when everybody is gone",
      },
      {
        name: "one hash more at once",
        search: "      places: concurrency,\n      mostPlaces: () => concurrency,",
        replacement: "      places: concurrency + 1,\n      mostPlaces: () => concurrency + 1,",
        why: "hashes take the core that serves everything else",
      },
      {
        name: "turns that are not given back",
        search: "      pass.leave();\n      this.#isLate = false;",
        replacement: "      this.#isLate = false;",
        why: "after a few logins none gets in any more",
      },
      {
        name: "one network's calls judged alone",
        search: "if (networks.length > 0) return JUDGED_OF_NETWORK;",
        replacement: "if (networks.length > 9) return JUDGED_OF_NETWORK;",
        why: "one network's reads keep others from being judged",
      },
      {
        name: "strangers and known callers alike",
        search: '[isKnown ? "known" : "stranger", ...networks]',
        replacement: '["stranger", ...networks]',
        why: "many networks at once keep people from logging in where they live",
      },
      {
        name: "a crowd is as many as its calls",
        search: '[isKnown ? "known" : "stranger", ...networks]',
        replacement: '[isKnown ? "known" : "stranger"]',
        why: "one network takes the hashes of all",
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
    "src/auth/throttle/login-limits.ts",
    ["test/auth/login-limits.test.ts"],
    [
      {
        name: "one more failure for free",
        search: "if (failures < freeFailures ||",
        replacement: "if (failures <= freeFailures ||",
        why: "the figure is not the one that was decided",
      },
      {
        name: "waits that grow slowly",
        search: "firstWaitMs * 2 ** (failures - freeFailures)",
        replacement: "firstWaitMs * (failures - freeFailures + 1)",
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
        search: "return Math.min(failedAtMs + waitMs - nowMs, waitMs);",
        replacement: "return failedAtMs + waitMs - nowMs;",
        why: "a wait of a second becomes one of hours",
      },
      {
        name: "owners with as many guesses as they like",
        search: "if (ofAccount >= openFailures && failures >= ownFailures) return maxWaitMs;",
        replacement: "",
        why: "a neighbour behind the owner's address guesses without an end",
      },
      {
        name: "owners wait for their neighbours",
        search: "return Math.min(asAnyone, ...failures.own.map((own) => ownWait(failures, own, nowMs)));",
        replacement: "return asAnyone;",
        why: "a hundred guesses lock the owner out at home",
      },
      {
        name: "a network's hashes for all alike",
        search: "const most = isOwner ? hashes : Math.ceil(hashes * (1 - LOGIN_LIMITS.ownPart));",
        replacement: "const most = hashes;",
        why: "neighbours use up what an owner needs to log in",
      },
    ],
  ),
  ...mutantsOf(
    "src/lib/ip.ts",
    ["test/auth/login-network.test.ts"],
    [
      {
        name: "an IPv6 host is one address",
        search: "prefixOf(ip, 32, 64)",
        replacement: "prefixOf(ip, 32, 128)",
        why: "one machine has 2^64 addresses, each with its own limit",
      },
      {
        name: "mapped IPv4 is one IPv6 network",
        search: "if (value >> 32n !== 0xffffn) return undefined;",
        replacement: "if (value >> 32n !== 0x10000n) return undefined;",
        why: "all of IPv4 shares one limit, and locks itself out",
      },
    ],
  ),
  ...mutantsOf("src/auth/throttle/login-attempt.ts", THROTTLE, [
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
      search: "      await this.#deps.store.succeed(this.#checked(), this.#counted);\n",
      replacement: "",
      why: "each login is a failure: people lock themselves out",
    },
  ]),
  ...mutantsOf("src/auth/login.ts", THROTTLE, [
    {
      name: "throttled attempts wait in the queue",
      search: "    await attempt.check(emailNormalized, { session",
      replacement: "    if (name.length > 1e6) await attempt.check(emailNormalized, { session",
      why: "attackers keep people from logging in",
    },
  ]),
  ...mutantsOf("src/auth/change-password.ts", THROTTLE, [
    {
      name: "ChangePassword guesses for free",
      search: "name: userId, isGuess: true }",
      replacement: "name: userId, isGuess: false }",
      why: "whoever stole an access token guesses the password",
    },
  ]),
];
