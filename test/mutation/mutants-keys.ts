import { mutantsOf } from "./tested-mutant.ts";

/** Raw keys and what they are judged by. */
export const KEYS_MUTANTS = [
  ...mutantsOf(
    "src/keys/key-secret.ts",
    ["test/keys/key-secret.test.ts"],
    [
      {
        name: "only the id of a raw key digested",
        search: "update(rawKey)",
        replacement: "update(rawKey.slice(0, 25))",
        why: "every secret with the right id matches",
      },
      {
        name: "secrets compared under the newest pepper only",
        search: 'ring.derive("api-key-pepper", secret.pepperVersion)',
        replacement: 'ring.currentKey("api-key-pepper")',
        why: "a rotation of the master key turns every good key INVALID",
      },
      {
        name: "a missing master key hides a good secret",
        search: "if (found === undefined && missing !== undefined) throw",
        replacement: "if (missing !== undefined) throw",
        why: "a key whose older secret can't be judged is refused by its newest",
      },
      {
        name: "a missing master key taken for a wrong secret",
        search: "      if (!isOver(secret)) missing = secret.pepperVersion;\n",
        replacement: "",
        why: "what is not known is answered as INVALID",
      },
      {
        name: "a secret that everybody knows",
        search: "id + randomBase62(SECRET_LENGTH)",
        replacement: 'id + "0".repeat(SECRET_LENGTH)',
        why: "an id is enough to make the key",
      },
      {
        name: "a digest filed under the wrong pepper",
        search: "pepperVersion: ring.current,",
        replacement: "pepperVersion: 1,",
        why: "keys that are issued after a rotation of the master key never work",
      },
    ],
  ),
  ...mutantsOf(
    "src/keys/key-form.ts",
    ["test/keys/key-secret.test.ts"],
    [
      {
        name: "a raw key's checksum not looked at",
        search: "if (text.slice(-CHECKSUM_LENGTH) !== checksum62(text.slice(0, -CHECKSUM_LENGTH))) return undefined;",
        replacement: "",
        why: "junk and typing errors cost a read of the database",
      },
      {
        name: "any word as environment",
        search: 'format.environments.includes(environment) ? "api" : undefined',
        replacement: '"api"',
        why: "texts that no process of this service can have issued cost a read",
      },
    ],
  ),
  ...mutantsOf(
    "src/keys/judge-key.ts",
    ["test/keys/judge-key.test.ts"],
    [
      {
        name: "a disabled key let in",
        search: 'key.state === "disabled" || key.state === "revoked"',
        replacement: 'key.state === "revoked"',
        why: "DisableKey does nothing",
      },
      {
        name: "a disabled owner's key let in",
        search: 'if (owner?.state === "disabled") return "owner_disabled";',
        replacement: "",
        why: "DisableUser leaves the keys working",
      },
      {
        name: "a secret good at its end",
        search: "record.secretExpiresAtMs <= nowMs",
        replacement: "record.secretExpiresAtMs < nowMs",
        why: "an overlap of 0 leaves the old secret good for a moment",
      },
      {
        name: "no address passes an allow-list",
        search: "key.allowedIps.length > 0 && !record",
        replacement: 'key.allowedIps.length > 0 && use.clientIp !== "" && !record',
        why: "who does not say where the call comes from passes the list",
      },
      {
        name: "no method passes an allow-list",
        search: "key.allowedMethods.length === 0 ||",
        replacement: 'key.allowedMethods.length === 0 || method === "" ||',
        why: "who does not say what is called passes the list",
      },
      {
        name: "the key's own tier instead of the judged one",
        search: "!use.allowedTiers.includes(record.tier)",
        replacement: "!use.allowedTiers.includes(key.tier)",
        why: "an owner whose grant was lowered keeps the higher tier",
      },
      {
        name: "one scope of those required is enough",
        search: "use.requiredScopes.every(",
        replacement: "use.requiredScopes.length === 0 || use.requiredScopes.some(",
        why: "a key that may read may also write",
      },
      {
        name: "scopes beyond the owner's grant",
        search: "key.scopes.includes(scope) && isGranted(owner, scope)",
        replacement: "key.scopes.includes(scope)",
        why: "a grant that an operator takes back still works through keys issued before",
      },
      {
        name: "all scopes of a key are effective",
        search: "key.scopes.filter((scope) => isGranted(owner, scope))",
        replacement: "[...key.scopes]",
        why: "a client that judges keys itself finds scopes that an operator took back",
      },
      {
        name: "scopes that the key does not have",
        search: "key.scopes.includes(scope) && ",
        replacement: "",
        why: "each key has all scopes of its owner",
      },
    ],
  ),
  ...mutantsOf(
    "src/keys/key.ts",
    ["test/keys/judge-key.test.ts"],
    [
      {
        name: "a key good at its end",
        search: "key.expiresAtMs <= nowMs",
        replacement: "key.expiresAtMs < nowMs",
        why: "expiry comes late",
      },
    ],
  ),
  ...mutantsOf(
    "src/lib/ip.ts",
    ["test/keys/allowed-ips.test.ts"],
    [
      {
        name: "mapped addresses judged as IPv6",
        search: "return mappedIpv4(text) ?? text;",
        replacement: "return text;",
        why: "::ffff:192.0.2.1 is another address than 192.0.2.1",
      },
      {
        name: "zones taken for part of an address",
        search: ' || text.includes("%")',
        replacement: "",
        why: "a link-local address with a zone is judged as if the zone did not matter",
      },
    ],
  ),
  ...mutantsOf(
    "src/keys/allowed-ips.ts",
    ["test/keys/allowed-ips.test.ts"],
    [
      {
        name: "host bits behind a prefix accepted",
        search: "return hasHostBits(address, width, Number(bits)) ?",
        replacement: "return bits === undefined ?",
        why: "192.0.2.1/8 silently admits a whole /8 that its author did not mean",
      },
      {
        name: "one list for both families",
        search: "lists[familyOf(address)].check(address, familyOf(address))",
        replacement: "[lists.ipv4, lists.ipv6].some((list) => list.check(address, familyOf(address)))",
        why: "an IPv6 network that holds all mapped addresses lets every IPv4 address in",
      },
      {
        name: "prefixes of any length for IPv4",
        search: "Number(bits) > width",
        replacement: "Number(bits) > 128",
        why: "0.0.0.0/33 is stored, and fails when the key is used",
      },
    ],
  ),
  ...mutantsOf(
    "src/keys/globs.ts",
    ["test/keys/globs.test.ts"],
    [
      {
        name: "a glob matches whatever is below it",
        search: "if (slash < 0) return at === segments.length - 1;",
        replacement: "if (slash < 0) return true;",
        why: "/orders/* also admits /orders/1/refund",
      },
      {
        name: "ambiguous methods matched",
        search: "if (!isUnambiguous(method)) return false;",
        replacement: "",
        why: "an escaped slash is read as one by the server behind",
      },
      {
        name: "escaped dots matched",
        search: "2[01246-9a-d]",
        replacement: "2[01246-9a-e]",
        why: "%2e%2e climbs out of the folder that the glob names",
      },
      {
        name: "escapes of any byte matched",
        search: "|7[0-9a-e])/gi",
        replacement: "|7[0-9a-e]|[89a-f][0-9a-f])/gi",
        why: "overlong UTF-8 and full-width forms become slashes and dots elsewhere",
      },
      {
        name: "parameters matched",
        search: "()*+,=:@/%]+$/;",
        replacement: "()*+,=:@/%;]+$/;",
        why: "/x/..;/a is /a for servers that cut parameters off",
      },
      {
        name: "methods judged only as they are written",
        search: "(decoded === undefined || matchesSegments(decodeEscapes(glob), decoded))",
        replacement: "decoded !== null",
        why: "/files/*8 admits /files/secret%78, which the server behind reads as secretx",
      },
      {
        name: "globs that never match taken",
        search: "if (plain.some(isRemoved)) return",
        replacement: "if (plain.length === 0) return",
        why: "the key's owner learns of the mistake from refused calls",
      },
      {
        name: "a glob is a beginning",
        search: " || !text.endsWith(glob.slice(lastStar + 1))",
        replacement: "",
        why: "a text that ends otherwise matches",
      },
      {
        name: "what a glob ends with is found in what it begins with",
        search: "if (end < firstStar || ",
        replacement: "if (",
        why: "/ab*ba admits /aba",
      },
      {
        name: "a glob for one verb admits the others",
        search: "return wanted === verb ?",
        replacement: 'return wanted !== "" ?',
        why: "a key for GET /orders may also POST there",
      },
      {
        name: "a leading slash does not matter",
        search: 'glob.startsWith("/") === isRooted &&',
        replacement: "",
        why: "a method of another protocol passes",
      },
    ],
  ),
  ...mutantsOf(
    "src/keys/tiers.ts",
    ["test/keys/tiers.test.ts"],
    [
      {
        name: "the higher of two tiers",
        search: "Math.min(own, granted)",
        replacement: "Math.max(own, granted)",
        why: "a key has the owner's tier, or keeps its own when the owner's is lowered",
      },
      {
        name: "a tier that is gone grants the second",
        search: "Math.max(0, this.#rank(grant))",
        replacement: "Math.max(1, this.#rank(grant))",
        why: "removing a tier raises those who had it",
      },
      {
        name: "a limit of 0 means the tier's",
        search: "perMinute: perMinute ?? tier.perMinute",
        replacement: "perMinute: perMinute || tier.perMinute",
        why: "a key that an operator stopped goes on",
      },
    ],
  ),
  ...mutantsOf(
    "src/lib/key-ring.ts",
    ["test/lib/key-ring.test.ts"],
    [
      {
        name: "one key for all purposes",
        search: "`latchkey/v1/${purpose}`",
        replacement: "`latchkey/v1`",
        why: "a digest made for one purpose can be used in the place of another",
      },
    ],
  ),
];
