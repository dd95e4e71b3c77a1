import { type User, User_StateSchema } from "@latchkey/client/contract";
import { stateCell } from "./key-view.ts";
import type { Column, Fields } from "./result.ts";
import { moment, relative } from "./times.ts";

/** The columns of a list of people. */
export function userColumns(nowMs: number): readonly Column<User>[] {
  return [
    { name: "ID", role: "id", cell: (user) => user.id },
    { name: "E-MAIL", role: "text", readable: 24, cell: (user) => user.email },
    { name: "STATE", role: "id", cell: (user) => stateCell(User_StateSchema, user.state) },
    { name: "TIER", role: "extra", cell: (user) => user.tier },
    { name: "NAME", role: "extra", cell: (user) => user.displayName },
    { name: "CREATED", role: "extra", cell: (user) => relative(nowMs, user.createTime) },
    { name: "SCOPES", role: "extra", cell: (user) => user.scopes.join(" ") },
  ];
}

/** Each field of a person that says something. */
export function userFields(user: User, nowMs: number): Fields {
  return [
    ["id", user.id],
    ["e-mail", user.email],
    ["name", user.displayName],
    ["state", stateCell(User_StateSchema, user.state)],
    ["tier", user.tier],
    ["scopes", user.scopes.join(" ") || "none"],
    ["created", moment(nowMs, user.createTime)],
  ];
}
