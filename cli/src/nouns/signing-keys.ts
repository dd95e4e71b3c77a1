import {
  ListSigningKeysResponseSchema,
  RevokeSigningKeyResponseSchema,
  RotateSigningKeyResponseSchema,
  type SigningKey,
  SigningKey_StateSchema,
} from "@latchkey/client/contract";
import { stateCell } from "../key-view.ts";
import { type Answer, type Column, jsonOf, listingOf } from "../result.ts";
import { moment, relative } from "../times.ts";
import { type Noun, verb } from "../verb.ts";

const list = verb({
  name: "list",
  about: "List the keys that sign access tokens, newest first",
  examples: ["signing-keys list"],
  flags: {},
  run: async ({ admin, call, nowMs }) =>
    listingOf({
      schema: ListSigningKeysResponseSchema,
      field: "keys",
      page: () => admin.listSigningKeys({}, call),
      limit: undefined,
      columns: columns(nowMs),
      quiet: (key: SigningKey) => key.id,
      none: "there are no signing keys",
    }),
});

const rotate = verb({
  name: "rotate",
  about: "Make a new signing key, which begins to sign after 6 minutes",
  more: "While a key is next, this shows that key and makes none.",
  examples: ["signing-keys rotate"],
  flags: {},
  async run({ admin, call, nowMs }) {
    const response = await admin.rotateSigningKey({}, call);
    return keyAnswer(jsonOf(RotateSigningKeyResponseSchema, response), response.key!, nowMs);
  },
});

const revoke = verb({
  name: "revoke",
  about: "Revoke a signing key at once; its tokens are refused",
  more: "If it was the active key, the next one signs at once. Revoking the next key cancels the rotation.",
  examples: ["signing-keys revoke 4Vrbq2yQb6XjLJqBqQ0s0v8v7dJ0oW1r2Zt8m3xYc9A"],
  args: [{ name: "KEY_ID", about: "the signing key's id, as the list shows it" }],
  flags: {},
  question: ({ args: [id] }) => `Revoke the signing key ${id}, and refuse its tokens at once?`,
  async run({ admin, call, nowMs }, { args: [keyId] }) {
    const response = await admin.revokeSigningKey({ keyId: keyId! }, call);
    return keyAnswer(jsonOf(RevokeSigningKeyResponseSchema, response), response.key!, nowMs);
  },
});

/** The keys that sign access tokens. */
export const signingKeys: Noun = {
  name: "signing-keys",
  about: "Keys that sign the access tokens of people",
  verbs: [list, rotate, revoke],
};

function columns(nowMs: number): readonly Column<SigningKey>[] {
  return [
    { name: "ID", role: "id", cell: ({ id }) => id },
    { name: "STATE", role: "id", cell: ({ state }) => stateCell(SigningKey_StateSchema, state) },
    { name: "ALGORITHM", role: "extra", cell: ({ algorithm }) => algorithm },
    { name: "SIGNS FROM", role: "extra", cell: ({ activateTime }) => relative(nowMs, activateTime) },
    { name: "SIGNS UNTIL", role: "extra", cell: ({ retireTime }) => relative(nowMs, retireTime, "open") },
    { name: "CREATED", role: "extra", cell: ({ createTime }) => relative(nowMs, createTime) },
  ];
}

function keyAnswer(json: Answer["json"], key: SigningKey, nowMs: number): Answer {
  return {
    ...{ kind: "answer", json, quiet: key.id },
    fields: [
      ["id", key.id],
      ["state", stateCell(SigningKey_StateSchema, key.state)],
      ["algorithm", key.algorithm],
      ["created", moment(nowMs, key.createTime)],
      ["signs from", moment(nowMs, key.activateTime)],
      ["signs until", moment(nowMs, key.retireTime, "")],
    ],
  };
}
