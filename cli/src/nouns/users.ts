import {
  ClearLoginFailuresResponseSchema,
  CreatePasswordResetResponseSchema,
  CreateUserResponseSchema,
  DisableUserResponseSchema,
  EnableUserResponseSchema,
  EndUserSessionsResponseSchema,
  GetUserResponseSchema,
  ListUsersResponseSchema,
  UpdateUserResponseSchema,
  type User,
} from "@latchkey/client/contract";
import { usage } from "../faults.ts";
import { count, given, list, pathsOf, required, text, updateMaskOf, yes } from "../flags.ts";
import { TIERS } from "../key-view.ts";
import { type Answer, jsonOf, listingOf } from "../result.ts";
import { moment } from "../times.ts";
import { userColumns, userFields } from "../user-view.ts";
import { type Noun, verb } from "../verb.ts";

const USER = { name: "USER_ID", about: "the person's id, such as usr_AbCd1234AbCd1234" };

/** The flags that both create and update take. */
const FIELDS = {
  displayName: text("TEXT", "up to 64 characters"),
  tier: text("TIER", "the highest tier of the person's keys", TIERS),
  scopes: list("A,B", "globs that limit the scopes of the person's keys"),
};

const create = verb({
  name: "create",
  about: "Create an account without a password",
  more:
    "The one-time token goes to standard output alone, and is never shown again. With it the person sets a password: " +
    "latchkey login --reset.",
  examples: ['users create --email ann@example.com --display-name "Ann Lee" --tier pro'],
  flags: { email: required(text("ADDRESS", "the person's e-mail address")), ...FIELDS },
  async run({ admin, call, nowMs }, { flags }) {
    const response = await admin.createUser(given(flags), call);
    const { user, resetToken, resetExpireTime } = response;
    return {
      kind: "answer",
      json: jsonOf(CreateUserResponseSchema, response),
      ...{ quiet: resetToken, secret: resetToken, title: "The one-time token below is shown this once:" },
      fields: [...userFields(user!, nowMs), ["token ends", moment(nowMs, resetExpireTime)]],
    };
  },
});

const listUsers = verb({
  name: "list",
  about: "List people, newest first",
  more: "On a narrow terminal, columns are left out; --json has everything.",
  examples: ["users list", "users list --email ann@example.com --quiet"],
  flags: {
    email: text("ADDRESS", "only the account with this e-mail address"),
    limit: count("the greatest number of people", 1),
  },
  run: async ({ admin, call, nowMs }, { flags: { email = "", limit } }) =>
    listingOf({
      schema: ListUsersResponseSchema,
      field: "users",
      page: (pageToken, pageSize) => admin.listUsers({ pageToken, pageSize, email }, call),
      limit,
      columns: userColumns(nowMs),
      quiet: (user: User) => user.id,
      none: "there are no such people",
    }),
});

const get = verb({
  name: "get",
  about: "Show a person",
  examples: ["users get usr_AbCd1234AbCd1234"],
  args: [USER],
  flags: {},
  async run({ admin, call, nowMs }, { args: [userId] }) {
    const response = await admin.getUser({ userId: userId! }, call);
    return userAnswer(jsonOf(GetUserResponseSchema, response), response.user!, nowMs);
  },
});

const update = verb({
  name: "update",
  about: "Change fields of a person; those without a flag stay",
  more: "A lower tier or fewer scopes hold for the person's existing keys too. An empty value clears a field.",
  examples: ["users update usr_AbCd1234AbCd1234 --tier enterprise --scopes 'orders:*,invoices:read'"],
  args: [USER],
  flags: FIELDS,
  async run({ admin, call, nowMs }, { args: [id], flags }) {
    const set = given(flags);
    const updateMask = updateMaskOf(pathsOf(set), "users update");
    const response = await admin.updateUser({ user: { id: id!, ...set }, updateMask }, call);
    return userAnswer(jsonOf(UpdateUserResponseSchema, response), response.user!, nowMs);
  },
});

const disable = verb({
  name: "disable",
  about: "Disable an account: its sessions end, and its keys are refused until it is enabled again",
  examples: ["users disable usr_AbCd1234AbCd1234"],
  args: [USER],
  flags: {},
  question: ({ args: [id] }) => `End all sessions of ${id}, and refuse all keys until the account is enabled again?`,
  async run({ admin, call, nowMs }, { args: [userId] }) {
    const response = await admin.disableUser({ userId: userId! }, call);
    return userAnswer(jsonOf(DisableUserResponseSchema, response), response.user!, nowMs);
  },
});

const enable = verb({
  name: "enable",
  about: "Enable a disabled account; its keys work again",
  examples: ["users enable usr_AbCd1234AbCd1234"],
  args: [USER],
  flags: {},
  async run({ admin, call, nowMs }, { args: [userId] }) {
    const response = await admin.enableUser({ userId: userId! }, call);
    return userAnswer(jsonOf(EnableUserResponseSchema, response), response.user!, nowMs);
  },
});

const resetPassword = verb({
  name: "reset-password",
  about: "Make a one-time token with which a person sets a new password",
  more:
    "The token goes to standard output alone, and is valid for a day. Password and sessions stay until it is used, " +
    "except with --end-access.",
  examples: ["users reset-password usr_AbCd1234AbCd1234", "users reset-password usr_AbCd1234AbCd1234 --end-access"],
  args: [USER],
  flags: {
    revokeKeys: yes("the reset revokes all keys of the person"),
    keepKeys: yes("the reset keeps the keys, unless the person says otherwise"),
    endAccess: yes("end the password and all sessions now"),
  },
  question: ({ args: [id], flags: { endAccess, revokeKeys } }) => {
    if (endAccess) return `End the password and all sessions of ${id} now?`;
    return revokeKeys ? `Let the reset revoke all keys of ${id}?` : undefined;
  },
  async run({ admin, call, nowMs }, { args: [userId], flags: { revokeKeys, keepKeys, endAccess = false } }) {
    if (revokeKeys && keepKeys) throw usage("--revoke-keys and --keep-keys exclude each other");
    const keys = revokeKeys || keepKeys ? { revokeKeys: revokeKeys === true } : {};
    const response = await admin.createPasswordReset({ userId: userId!, endAccess, ...keys }, call);
    const { resetToken, expireTime, revokesKeys } = response;
    return {
      kind: "answer",
      json: jsonOf(CreatePasswordResetResponseSchema, response),
      ...{ quiet: resetToken, secret: resetToken, title: "The one-time token below is shown this once:" },
      fields: [
        ["for", userId!],
        ["token ends", moment(nowMs, expireTime)],
        ["keys", revokesKeys ? "the reset revokes them" : "the reset keeps them"],
      ],
    };
  },
});

const endSessions = verb({
  name: "end-sessions",
  about: "End all sessions of a person, and use up their one-time tokens",
  examples: ["users end-sessions usr_AbCd1234AbCd1234"],
  args: [USER],
  flags: {},
  question: ({ args: [id] }) => `End all sessions of ${id}?`,
  async run({ admin, call }, { args: [userId] }) {
    const response = await admin.endUserSessions({ userId: userId! }, call);
    const json = jsonOf(EndUserSessionsResponseSchema, response);
    return { kind: "answer", json, quiet: userId, title: `all sessions of ${userId} have ended` };
  },
});

const clearFailures = verb({
  name: "clear-failures",
  about: "Clear a person's failed logins, so that they can log in from anywhere again",
  examples: ["users clear-failures usr_AbCd1234AbCd1234"],
  args: [USER],
  flags: {},
  async run({ admin, call }, { args: [userId] }) {
    const response = await admin.clearLoginFailures({ userId: userId! }, call);
    const json = jsonOf(ClearLoginFailuresResponseSchema, response);
    return { kind: "answer", json, quiet: userId, title: `the failed logins of ${userId} no longer count` };
  },
});

/** People, as operators see them. */
export const users: Noun = {
  name: "users",
  about: "People who log in and own keys",
  verbs: [create, listUsers, get, update, disable, enable, resetPassword, endSessions, clearFailures],
};

function userAnswer(json: Answer["json"], user: User, nowMs: number): Answer {
  return { kind: "answer", json, quiet: user.id, fields: userFields(user, nowMs) };
}
