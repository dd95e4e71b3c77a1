import { mutantsOf } from "./tested-mutant.ts";

const VERIFY = ["test/rpc/verify-key.test.ts"];
const CREDENTIALS = ["test/rpc/service-credentials.test.ts"];
const CHECK = ["test/rpc/check-rate-limit.test.ts"];

/** The walk of a verification, and service credentials. */
export const VERIFICATION_MUTANTS = [
  ...mutantsOf("src/keys/verdict.ts", VERIFY, [
    {
      name: "service credentials are API keys",
      search: 'parsed === undefined || parsed.kind !== "api"',
      replacement: "parsed === undefined",
      why: "a credential that leaks opens what keys open",
    },
    {
      name: "credentials in memory are API keys",
      search: 'if (key === undefined || key.kind !== "api") return undefined;',
      replacement: "if (key === undefined) return undefined;",
      why: "a credential that leaks opens what keys open, as soon as its service has called",
    },
    {
      name: "keys in memory of another environment",
      search: "return isOfEnvironment(input.environment, key.environment) ? known : undefined;",
      replacement: "return known;",
      why: "test keys that were shown before work on the live service",
    },
    {
      name: "keys of another environment",
      search: "return isOfEnvironment(input.environment, parsed.environment) ? parsed : undefined;",
      replacement: "return parsed;",
      why: "test keys work on the live service",
    },
    {
      name: "refused keys asked about their limits",
      search: 'judged.verdict !== "valid" || judged.record === undefined',
      replacement: "judged.record === undefined",
      why: "a key that was refused is valid once its limits have room",
    },
  ]),
  ...mutantsOf("src/keys/key-records.ts", VERIFY, [
    {
      name: "records kept by id",
      search: 'return hash("sha256", rawKey, "base64url");',
      replacement: 'return hash("sha256", rawKey.slice(0, 25), "base64url");',
      why: "while a record is in memory any secret will do",
    },
    {
      name: "the end of an old secret not looked at",
      search: "earlier(secret.expiresAtMs, found.key.expiresAtMs)",
      replacement: "found.key.expiresAtMs",
      why: "a rotation ends nothing",
    },
    {
      name: "limits without the owner's grant",
      search: "ownLimits(tiers.effectiveLimits(found.key, found.owner))",
      replacement: "ownLimits(tiers.effectiveLimits(found.key, undefined))",
      why: "an owner whose tier was lowered keeps the higher limits",
    },
    {
      name: "records not tied to their owner",
      search: "ownerId === undefined ? [keyId] : [keyId, ownerId]",
      replacement: "[keyId]",
      why: "keys of a disabled user work as long as the feed proves the copies fresh",
    },
  ]),
  ...mutantsOf("src/keys/check-rate-limit.ts", CHECK, [
    {
      name: "a key's own limit left out",
      search: "limits: [own, ...limits],",
      replacement: "limits,",
      why: "calls are counted nowhere",
    },
  ]),
  ...mutantsOf("src/keys/limit-requests.ts", CHECK, [
    {
      name: "names and keys in one space",
      search: "return `name:${name}`;",
      replacement: "return `key:${name}`;",
      why: "who may name a subject uses up anybody's key",
    },
  ]),
  ...mutantsOf(
    "src/keys/credentials/service-credential.ts",
    ["test/rpc/caller.test.ts"],
    [
      {
        name: "revoked credentials let in",
        search: 'if (state !== "active") return state;',
        replacement: "",
        why: "an operator who left stays",
      },
      {
        name: "a credential's old secret never ends",
        search: "record.secretExpiresAtMs > nowMs",
        replacement: "record.secretExpiresAtMs > 0",
        why: "a rotation ends nothing",
      },
    ],
  ),
  ...mutantsOf("src/keys/credentials/issue-service-credential.ts", CREDENTIALS, [
    {
      name: "credentials with any scope",
      search: "scopes.some((scope) => !known.includes(scope))",
      replacement: "scopes.every((scope) => !known.includes(scope))",
      why: "a scope of a later version is granted by an earlier one",
    },
  ]),
  ...mutantsOf("src/keys/rotate-key.ts", CREDENTIALS, [
    {
      name: "credentials named as keys",
      search: 'kind === "key.rotated" ? "key_id" : "credential_id"',
      replacement: '"key_id"',
      why: "who tries again does not learn which credential it was",
    },
  ]),
  ...mutantsOf("src/keys/credentials/revoke-service-credential.ts", CREDENTIALS, [
    {
      name: "the last operator locks everybody out",
      search: 'isUsableAdmin ? "admin" : undefined',
      replacement: "undefined",
      why: "nobody can administer the service any more",
    },
  ]),
];
