import { mutantsOf } from "./tested-mutant.ts";

const MANAGE = ["test/rpc/manage-key.test.ts"];
const ISSUE = ["test/rpc/issue-key.test.ts"];

/** Faults in the rules about what a caller may do with keys. */
export const MANAGEMENT_MUTANTS = [
  ...mutantsOf("src/keys/key.ts", MANAGE, [
    {
      name: "a ninth live secret",
      search: "const MAX_LIVE_SECRETS = 8;",
      replacement: "const MAX_LIVE_SECRETS = 9;",
      why: "each verification compares with more than was promised",
    },
  ]),
  ...mutantsOf("src/keys/key-fields.ts", ISSUE, [
    {
      name: "keys one byte heavier",
      search: "bytes <= MAX_KEY_BYTES ||",
      replacement: "bytes <= MAX_KEY_BYTES + 1 ||",
      why: "the figure is not the one that was decided",
    },
  ]),
  ...mutantsOf("src/keys/grants.ts", MANAGE, [
    {
      name: "users manage any key",
      search: "key.ownerId === actor.id : actor.manages",
      replacement: "true : actor.manages",
      why: "whoever knows an id can read, change and revoke another's key",
    },
    {
      name: "owners change scopes of restricted keys",
      search: '"metadata", "expire_time"]);',
      replacement: '"metadata", "expire_time", "scopes"]);',
      why: "what a service restricted its owner widens",
    },
    {
      name: "owners set their tier",
      search: 'new Set(["tier", "limits"])',
      replacement: 'new Set(["limits"])',
      why: "the tier comes from an untrusted caller",
    },
    {
      name: "owners prolong restricted keys",
      search: "return endMs === undefined || newEndMs <= endMs;",
      replacement: "return true;",
      why: "an end that a service set is no end",
    },
    {
      name: "owners take the end of restricted keys away",
      search: "if (newEndMs === undefined) return endMs === undefined;",
      replacement: "if (newEndMs === undefined) return true;",
      why: "an end that a service set is no end",
    },
    {
      name: "only limits restrict a key",
      search: '!["name", "description", "metadata"].includes(field)',
      replacement: 'field === "limits"',
      why: "the owner removes an allow-list that a service put on his key",
    },
  ]),
  ...mutantsOf("src/keys/grants.ts", ISSUE, [
    {
      name: "tiers above the owner's",
      search: "if (!tiers.isWithin(tier, owner.tier)) {",
      replacement: "if (tier === owner.id) {",
      why: "everybody issues himself keys of the highest tier",
    },
    {
      name: "only the first scope checked",
      search: "scopes.filter((scope) => !matchesScope(owner.scopes, scope))",
      replacement: "scopes.slice(0, 1).filter((scope) => !matchesScope(owner.scopes, scope))",
      why: "what was not granted goes behind what was",
    },
  ]),
  ...mutantsOf("src/keys/issue-key.ts", ISSUE, [
    {
      name: "users issue for others",
      search: 'ownerId !== "" && ownerId !== by.id',
      replacement: "ownerId === by.id",
      why: "keys that act in another's name",
    },
    {
      name: "users set their limits",
      search: "if (limits !== undefined) {\n",
      replacement: "if (limits?.perDay !== undefined) {\n",
      why: "the limit comes from whom it limits",
    },
    {
      name: "keys that services issue belong to their owners wholly",
      search: 'serviceControlled: by.kind === "service",',
      replacement: "serviceControlled: false,",
      why: "the owner widens what a service issued narrow",
    },
    {
      name: "no tier means the highest",
      search: 'input.tier === "" ? deps.tiers.lowest.name',
      replacement: 'input.tier === "" ? owner.tier',
      why: "who asks for nothing gets all",
    },
    {
      name: "keys without a quota",
      search: "ownerQuota: deps.keysPerOwner,",
      replacement: "ownerQuota: undefined,",
      why: "one person fills the database",
    },
    {
      name: "keys of any environment",
      search: "if (!format.environments.includes(chosen)) {",
      replacement: 'if (chosen === "") {',
      why: "a user issues what has the form of a service credential",
    },
  ]),
  ...mutantsOf("src/keys/idempotency.ts", ISSUE, [
    {
      name: "request ids shared by all callers",
      search: "return { callerId, requestId",
      replacement: 'return { callerId: "", requestId',
      why: "a caller learns of others' keys by guessing their request ids, and blocks them",
    },
    {
      name: "parameters of a request not compared",
      search: ".update(canonicalJson(parameters))",
      replacement: '.update("")',
      why: "another wish under a used request id looks carried out",
    },
    {
      name: "parameters compared by the order of names",
      search: ".sort(([a], [b]) => (a < b ? -1 : 1))",
      replacement: "",
      why: "the same request, written in another order, is refused as another one",
    },
  ]),
  ...mutantsOf("src/keys/key-fields.ts", ISSUE, [
    {
      name: "ends in the past",
      search: "if (expiresAtMs <= nowMs) return",
      replacement: "if (expiresAtMs < 0) return",
      why: "a key that is dead when it is issued, with a good answer",
    },
    {
      name: "lists without a bound",
      search: "if (entries.length > MAX_LIST) {",
      replacement: "if (entries.length < 0) {",
      why: "each verification of the key walks a list of any length",
    },
    {
      name: "negative limits",
      search: "figure !== undefined && figure < 0",
      replacement: "figure !== undefined && figure < -1",
      why: "-1 is how the script in Redis writes `no limit`",
    },
  ]),
  ...mutantsOf("src/keys/update-key.ts", MANAGE, [
    {
      name: "etags not compared",
      search: 'input.etag !== "" && input.etag !== keyEtag(key)',
      replacement: "input.etag === key.id",
      why: "of two who change a key at once one is lost, though he asked not to be",
    },
    {
      name: "updates without asking who may",
      search: "checkFieldAccess(by, key, Object.keys(update), update.expire_time ?? undefined);",
      replacement: "",
      why: "owners lift limits and restrictions",
    },
    {
      name: "updates to tiers above the owner's",
      search:
        'if (owner !== undefined && update.tier !== undefined) checkTier(deps.tiers, update.tier, owner, "key.tier");',
      replacement: "",
      why: "the answer names a tier at which the key is never judged",
    },
    {
      name: "updates to scopes beyond the owner's",
      search: "if (owner !== undefined && update.scopes !== undefined) checkScopes(update.scopes, owner);",
      replacement: "",
      why: "scopes that were never granted wait on the key for a wider grant",
    },
    {
      name: "what a service restricts stays the owner's",
      search: 'by.kind === "service" && restricts(',
      replacement: 'by.id === "" && restricts(',
      why: "the owner takes the restriction away",
    },
    {
      name: "new values not checked",
      search: "    checkFieldValues(update, nowMs);\n",
      replacement: "",
      why: "an update brings in what IssueKey refuses",
    },
  ]),
  ...mutantsOf("src/keys/enable-key.ts", MANAGE, [
    {
      name: "owners enable what a service disabled",
      search: 'by.kind === "user" && isByService(key.disabledBy)',
      replacement: 'by.kind === "user" && key.disabledBy === undefined',
      why: "a service can't stop a key",
    },
  ]),
  ...mutantsOf("src/keys/disable-key.ts", MANAGE, [
    {
      name: "the owner's word stands before the service's",
      search: '(by.kind === "user" || isByService(key.disabledBy))',
      replacement: "true",
      why: "who disables his key before a service does can enable it again",
    },
  ]),
  ...mutantsOf("src/keys/key.ts", MANAGE, [
    {
      name: "expired keys live on for management",
      search: 'state === "revoked" || state === "expired"',
      replacement: 'state === "revoked"',
      why: "a rotation brings a key back to life",
    },
    {
      name: "an etag that never changes",
      search: '`"${key.version}"`',
      replacement: '`"${key.id}"`',
      why: "every condition holds",
    },
  ]),
  ...mutantsOf("src/postgres/stores/key-store.ts", MANAGE, [
    {
      name: "rotations of ended keys",
      search: '      if (hasEnded(toKey(row), tx.now.getTime())) return { kind: "ended" };\n',
      replacement: "",
      why: "who rotates a revoked key is told that the new secret works",
    },
  ]),
  ...mutantsOf("src/keys/rotate-key.ts", MANAGE, [
    {
      name: "overlaps of any length",
      search: "value >= 0 && value <= MAX_OVERLAP_MS",
      replacement: "value >= 0",
      why: "an old secret never ends",
    },
    {
      name: "overlaps just below seven days",
      search: "value >= 0 && value <= MAX_OVERLAP_MS",
      replacement: "value >= 0 && value < MAX_OVERLAP_MS",
      why: "what the contract names as the longest is refused",
    },
    {
      name: "rotations under any request id",
      search: "  checkRequestId(input.requestId);\n",
      replacement: "",
      why: "a caller's mistake looks like a fault of the service",
    },
    {
      name: "one request id rotates any key",
      search: "{ rotate: input.keyId, overlapMs }",
      replacement: "{}",
      why: "a rotation that was never carried out looks carried out, and the leaked secret works on",
    },
    {
      name: "the longest overlap for who names none",
      search: "overlapMs ?? DEFAULT_OVERLAP_MS",
      replacement: "overlapMs ?? MAX_OVERLAP_MS",
      why: "a leaked secret works for a week longer",
    },
  ]),
  ...mutantsOf("src/keys/change-key.ts", MANAGE, [
    {
      name: "nobody asks whose key it is",
      search: "  if (!mayManage(by, found.key)) throw keyNotFound({ isAnothers: true });\n",
      replacement: "",
      why: "whoever knows an id can change another's key",
    },
  ]),
];
