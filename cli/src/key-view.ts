import type { DescEnum } from "@bufbuild/protobuf";
import { type Key, Key_StateSchema, type Limits, type RateLimitStatus } from "@latchkey/client/contract";
import { type Cell, type Column, enumName, type Fields, type TableOf } from "./result.ts";
import type { Style } from "./styles.ts";
import { lengthText, moment, msOf, relative } from "./times.ts";

/** The tiers that a service has if its configuration names no others. */
export const TIERS = ["basic", "pro", "enterprise"];

/** The columns of a list of keys. */
export function keyColumns(nowMs: number): readonly Column<Key>[] {
  return [
    { name: "ID", role: "id", cell: (key) => key.id },
    { name: "NAME", role: "text", cell: (key) => key.name },
    { name: "STATE", role: "id", cell: (key) => stateCell(Key_StateSchema, key.state) },
    { name: "TIER", role: "extra", cell: (key) => key.tier },
    { name: "LAST USED", role: "extra", cell: (key) => relative(nowMs, key.lastUseTime) },
    { name: "EXPIRES", role: "extra", cell: (key) => relative(nowMs, key.expireTime) },
    { name: "OWNER", role: "extra", cell: (key) => key.ownerId },
    { name: "CREATED", role: "extra", cell: (key) => relative(nowMs, key.createTime) },
    { name: "SCOPES", role: "extra", cell: (key) => key.scopes.join(" ") },
  ];
}

/** Each field of a key that says something. */
export function keyFields(key: Key, nowMs: number): Fields {
  return [
    ["id", key.id],
    ["name", key.name],
    ["description", key.description],
    ["state", stateCell(Key_StateSchema, key.state)],
    ["disabled by", key.disabledBy],
    ["begins with", key.prefix],
    ["environment", key.environment],
    ["owner", key.ownerId],
    ["issued by", key.issuerId === key.ownerId ? "" : key.issuerId],
    ["tier", withEffective(key.tier, key.effectiveTier)],
    ["scopes", withEffective(key.scopes.join(" "), key.effectiveScopes.join(" ")) || "none"],
    ["limits", limitsText(key.effectiveLimits)],
    ["networks", key.allowedIps.join(" ")],
    ["methods", key.allowedMethods.join(", ")],
    ...Object.entries(key.metadata).map(([name, value]) => [`metadata ${name}`, value] as const),
    ["created", moment(nowMs, key.createTime)],
    ["expires", moment(nowMs, key.expireTime)],
    ["last used", moment(nowMs, key.lastUseTime)],
    ["revoked", moment(nowMs, key.revokeTime, "")],
  ];
}

const STATE_STYLES: Readonly<Record<string, Style>> = {
  ACTIVE: "good",
  NEXT: "good",
  DISABLED: "paused",
  RETIRED: "faint",
  REVOKED: "bad",
  EXPIRED: "faint",
};

/** A state in lower case, in its colour. */
export function stateCell(schema: DescEnum, state: number): Cell {
  const name = enumName(schema, state);
  return { text: name.toLowerCase(), style: STATE_STYLES[name] ?? "paused" };
}

/** The windows of an answer, a line each. */
export function windowTable(windows: readonly RateLimitStatus[]): readonly TableOf[] {
  if (windows.length === 0) return [];
  const rows = windows.map(({ name, window, limit, remaining, resetAfter }): Cell[] => [
    name === "" ? "the key's own" : name,
    window === undefined ? "" : windowText(msOf(window)),
    String(limit),
    { text: String(remaining), style: remaining > 0 ? "good" : "bad" },
    resetAfter === undefined || msOf(resetAfter) === 0 ? "-" : lengthText(msOf(resetAfter)),
  ]);
  const head = [
    { name: "LIMIT", role: "text" },
    { name: "WINDOW", role: "id" },
    { name: "ALLOWS", role: "id" },
    { name: "LEFT", role: "id" },
    { name: "FULL AGAIN IN", role: "extra" },
  ] as const;
  return [{ head, rows }];
}

function windowText(ms: number): string {
  return ms === 60_000 ? "minute" : ms === 86_400_000 ? "day" : lengthText(ms);
}

function limitsText(limits: Limits | undefined): string {
  const parts = [
    limits?.perMinute === undefined ? "" : `${limits.perMinute} a minute`,
    limits?.perDay === undefined ? "" : `${limits.perDay} a day`,
  ];
  return parts.filter((part) => part !== "").join(", ");
}

/** The stored value, and the one in effect where that is less. */
function withEffective(stored: string, effective: string): string {
  return stored === effective ? stored : `${stored} (now in effect: ${effective || "none"})`;
}
