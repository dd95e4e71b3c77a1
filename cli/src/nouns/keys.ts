import { randomUUID } from "node:crypto";
import {
  DeleteKeyResponseSchema,
  DisableKeyResponseSchema,
  EnableKeyResponseSchema,
  GetKeyResponseSchema,
  IssueKeyResponseSchema,
  type Key,
  ListKeysResponseSchema,
  RevokeKeyResponseSchema,
  RotateKeyResponseSchema,
  UpdateKeyResponseSchema,
} from "@latchkey/client/contract";
import { usage } from "../faults.ts";
import { count, duration, given, list, moment, pairs, pathsOf, required, text, updateMaskOf, yes } from "../flags.ts";
import { keyColumns, keyFields, TIERS } from "../key-view.ts";
import { type Answer, jsonOf, listingOf } from "../result.ts";
import { msOf } from "../times.ts";
import { type Noun, verb } from "../verb.ts";
import { verifyKey } from "./verify-key.ts";

const KEY = { name: "KEY_ID", about: "the key's id, such as key_AbCd1234AbCd1234" };

/** The flags that both issue and update take. */
const FIELDS = {
  description: text("TEXT", "up to 1,024 characters"),
  tier: text("TIER", "the key's tier, at most its owner's", TIERS),
  scopes: list("A,B", "what the key may be used for"),
  expires: moment("when the key stops working: 30d, or a date"),
  metadata: pairs("NAME=VALUE", "notes, at most 32"),
  allowedIps: list("CIDR,CIDR", "networks from which the key may be used"),
  allowedMethods: list("GLOB,GLOB", "methods for which the key may be used"),
  perMinute: count("calls in any minute, in place of the tier's"),
  perDay: count("calls in any day, in place of the tier's"),
};

const issue = verb({
  name: "issue",
  about: "Issue a key",
  more: "The raw key goes to standard output alone, and is never shown again.",
  examples: ["keys issue --owner usr_AbCd1234AbCd1234 --name laptop --scopes orders:read --expires 90d"],
  flags: {
    name: required(text("NAME", "1 to 64 characters")),
    owner: text("USER_ID", "the owner; a person may leave it out"),
    environment: text("NAME", "a configured environment", ["live", "test"]),
    ...FIELDS,
  },
  async run(invocation, { flags }) {
    const { perMinute, perDay, expires, owner = "", ...fields } = flags;
    const limits = perMinute === undefined && perDay === undefined ? {} : { limits: { perMinute, perDay } };
    // With it, the client's retry after a lost answer issues no second key.
    const request = { ...given(fields), ...limits, ownerId: owner, requestId: randomUUID() };
    const response = await invocation.keys.issueKey({ ...request, ...given({ expireTime: expires }) }, invocation.call);
    return secretAnswer(jsonOf(IssueKeyResponseSchema, response), response, invocation.nowMs);
  },
});

const rotate = verb({
  name: "rotate",
  about: "Give a key a new secret; its id stays",
  more: "Older secrets work until the overlap ends: 24 hours if --overlap is not given, at most 7 days.",
  examples: ["keys rotate key_AbCd1234AbCd1234 --overlap 1h", "keys rotate key_AbCd1234AbCd1234 --overlap 0s --yes"],
  args: [KEY],
  flags: { overlap: duration("how long older secrets keep working; 0s ends them at once") },
  question: ({ args: [id], flags: { overlap } }) =>
    overlap !== undefined && msOf(overlap) === 0 ? `End all older secrets of ${id} at once?` : undefined,
  async run(invocation, { args: [keyId], flags }) {
    const request = { keyId: keyId!, requestId: randomUUID(), ...given(flags) };
    const response = await invocation.keys.rotateKey(request, invocation.call);
    return secretAnswer(jsonOf(RotateKeyResponseSchema, response), response, invocation.nowMs);
  },
});

const listKeys = verb({
  name: "list",
  about: "List keys, newest first",
  more: "On a narrow terminal, columns are left out; --json has everything.",
  examples: ["keys list --owner usr_AbCd1234AbCd1234", "keys list --all --jsonl"],
  flags: {
    owner: text("USER_ID", "only keys of this person"),
    all: yes("revoked and expired keys too"),
    limit: count("the greatest number of keys", 1),
  },
  run: async ({ keys, call, nowMs }, { flags: { owner = "", all: showEnded = false, limit } }) =>
    listingOf({
      schema: ListKeysResponseSchema,
      field: "keys",
      page: (pageToken, pageSize) => keys.listKeys({ pageToken, pageSize, ownerId: owner, showEnded }, call),
      limit,
      columns: keyColumns(nowMs),
      quiet: (key: Key) => key.id,
      none: "there are no such keys",
    }),
});

const get = verb({
  name: "get",
  about: "Show a key",
  examples: ["keys get key_AbCd1234AbCd1234"],
  args: [KEY],
  flags: {},
  async run({ keys, call, nowMs }, { args: [keyId] }) {
    const response = await keys.getKey({ keyId: keyId! }, call);
    return keyAnswer(jsonOf(GetKeyResponseSchema, response), response.key!, nowMs);
  },
});

const update = verb({
  name: "update",
  about: "Change fields of a key; those without a flag stay",
  more: "An empty value clears a field. With --etag, the change happens only if no other came before it.",
  examples: [
    "keys update key_AbCd1234AbCd1234 --scopes orders:read,orders:write",
    "keys update key_AbCd1234AbCd1234 --per-minute 600 --allowed-ips 10.0.0.0/8",
  ],
  args: [KEY],
  flags: {
    name: text("NAME", "1 to 64 characters"),
    ...FIELDS,
    neverExpires: yes("the key no longer expires"),
    tierLimits: yes("the tier's limits hold again"),
    etag: text("ETAG", "the key's etag, as --json shows it"),
  },
  async run({ keys, call, nowMs }, { args: [id], flags }) {
    const { perMinute, perDay, expires, neverExpires, tierLimits, etag = "", ...fields } = flags;
    const hasLimits = perMinute !== undefined || perDay !== undefined;
    if (hasLimits && tierLimits) throw usage("--tier-limits excludes --per-minute and --per-day");
    if (expires !== undefined && neverExpires) throw usage("--never-expires excludes --expires");
    const set = given(fields);
    const paths = [
      ...pathsOf(set),
      ...(hasLimits || tierLimits ? ["limits"] : []),
      ...(expires !== undefined || neverExpires ? ["expire_time"] : []),
    ];
    const updateMask = updateMaskOf(paths, "keys update");
    const limits = hasLimits ? { limits: { perMinute, perDay } } : {};
    const key = { id: id!, etag, ...set, ...limits, ...given({ expireTime: expires }) };
    const response = await keys.updateKey({ key, updateMask }, call);
    return keyAnswer(jsonOf(UpdateKeyResponseSchema, response), response.key!, nowMs);
  },
});

const disable = verb({
  name: "disable",
  about: "Refuse a key until it is enabled again",
  examples: ["keys disable key_AbCd1234AbCd1234"],
  args: [KEY],
  flags: {},
  question: ({ args: [id] }) => `Refuse every call with ${id} until it is enabled again?`,
  async run({ keys, call, nowMs }, { args: [keyId] }) {
    const response = await keys.disableKey({ keyId: keyId! }, call);
    return keyAnswer(jsonOf(DisableKeyResponseSchema, response), response.key!, nowMs);
  },
});

const enable = verb({
  name: "enable",
  about: "Make a disabled key work again",
  examples: ["keys enable key_AbCd1234AbCd1234"],
  args: [KEY],
  flags: {},
  async run({ keys, call, nowMs }, { args: [keyId] }) {
    const response = await keys.enableKey({ keyId: keyId! }, call);
    return keyAnswer(jsonOf(EnableKeyResponseSchema, response), response.key!, nowMs);
  },
});

const revoke = verb({
  name: "revoke",
  about: "Revoke a key for good",
  examples: ['keys revoke key_AbCd1234AbCd1234 --reason "found in a public repository"'],
  args: [KEY],
  flags: { reason: text("TEXT", "for the audit trail, up to 256 characters") },
  question: ({ args: [id] }) => `Revoke ${id} for good?`,
  async run({ keys, call, nowMs }, { args: [keyId], flags }) {
    const response = await keys.revokeKey({ keyId: keyId!, ...given(flags) }, call);
    return keyAnswer(jsonOf(RevokeKeyResponseSchema, response), response.key!, nowMs);
  },
});

const remove = verb({
  name: "delete",
  about: "Revoke a key, and erase its name, description and metadata",
  examples: ["keys delete key_AbCd1234AbCd1234 --yes"],
  args: [KEY],
  flags: {},
  question: ({ args: [id] }) => `Revoke ${id} and erase its texts for good?`,
  async run({ keys, call }, { args: [keyId] }) {
    const response = await keys.deleteKey({ keyId: keyId! }, call);
    const json = jsonOf(DeleteKeyResponseSchema, response);
    return { kind: "answer", json, quiet: keyId, title: `deleted ${keyId}` };
  },
});

/** API keys. */
export const keys: Noun = {
  name: "keys",
  about: "API keys",
  verbs: [issue, listKeys, get, update, rotate, disable, enable, revoke, remove, verifyKey],
};

function keyAnswer(json: Answer["json"], key: Key, nowMs: number): Answer {
  return { kind: "answer", json, quiet: key.id, fields: keyFields(key, nowMs) };
}

function secretAnswer(json: Answer["json"], { key, apiKey }: { key?: Key; apiKey: string }, nowMs: number): Answer {
  const title = "The key below is shown this once:";
  return { kind: "answer", json, quiet: apiKey, secret: apiKey, fields: keyFields(key!, nowMs), title };
}
