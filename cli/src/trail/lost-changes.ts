import type { TrailEvent } from "./trail-file.ts";

/** The call that repeats a lost change. */
export type Repeat =
  | "revoke key"
  | "delete key"
  | "disable key"
  | "disable person"
  | "end sessions"
  | "revoke credential"
  | "revoke signing key";

/** A change that a restored database does not have. */
export interface LostChange {
  /** The id of what has to be changed. */
  readonly subjectId: string;
  /** The latest event that says so. */
  readonly event: TrailEvent;
  /** "decide": a person has to. "issued": the subject was made since the backup. */
  readonly todo: Repeat | "decide" | "issued";
  /** The state after the restore, for a person. */
  readonly note: string;
}

/** A rule of one kind of event. Of the events about one subject and topic, only the latest counts. */
interface Rule {
  readonly topic: string;
  readonly todo: LostChange["todo"];
  readonly note: string;
}

const ENDED = "end";
const ISSUED: Rule = { topic: "issue", todo: "issued", note: "it is unknown now; issue another one" };
const WORKS_AGAIN = "it works again";
const ROTATED: Rule = {
  topic: "secret",
  todo: "decide",
  note: "an older secret works again, and the newer one is unknown",
};
const ENABLED: Rule = { topic: "switch", todo: "decide", note: "it had been enabled, and may be disabled now" };
const SESSIONS: Rule = { topic: "sessions", todo: "end sessions", note: "ended sessions work again" };
const PASSWORD: readonly Rule[] = [
  SESSIONS,
  { topic: "password", todo: "decide", note: "the former password works again; see: latchkey users reset-password" },
];

const RULES: Readonly<Record<string, readonly Rule[]>> = {
  "key.issued": [ISSUED],
  "key.revoked": [{ topic: ENDED, todo: "revoke key", note: WORKS_AGAIN }],
  "key.deleted": [{ topic: ENDED, todo: "delete key", note: WORKS_AGAIN }],
  "key.disabled": [{ topic: "switch", todo: "disable key", note: WORKS_AGAIN }],
  "key.enabled": [ENABLED],
  "key.rotated": [ROTATED],
  "credential.issued": [ISSUED],
  "credential.rotated": [ROTATED],
  "credential.revoked": [{ topic: ENDED, todo: "revoke credential", note: WORKS_AGAIN }],
  "user.registered": [ISSUED],
  "user.created": [ISSUED],
  "user.disabled": [{ topic: "switch", todo: "disable person", note: "the account and its keys work again" }, SESSIONS],
  "user.enabled": [ENABLED],
  "user.password_changed": PASSWORD,
  "user.password_reset": PASSWORD,
  "session.ended": [SESSIONS],
  "session.token_reused": [SESSIONS],
  "signing_key.revoked": [{ topic: ENDED, todo: "revoke signing key", note: "its tokens are accepted again" }],
};

/**
 * The changes of a lost database that the restored one does not have, in the order in which to repeat them.
 *
 * @param trail events of the lost database, in any order
 * @param present events of the restored database, of the same time and later. What happened after the restore decides:
 *   a key that was enabled on purpose is not disabled again.
 */
export function lostChanges(trail: readonly TrailEvent[], present: readonly TrailEvent[]): LostChange[] {
  const isPresent = new Set(present.map(({ id }) => id));
  const lost = trail.filter(({ id }) => !isPresent.has(id));
  const latest = new Map<string, LostChange | undefined>();
  for (const event of [...lost, ...present].sort((a, b) => a.timeMs - b.timeMs)) {
    for (const rule of rulesOf(event)) {
      const subjectId = subjectOf(event, rule);
      if (subjectId === "") continue;
      // The end of one session after the restore leaves the person's other sessions.
      if (rule.topic === SESSIONS.topic && isPresent.has(event.id) && event.subjectId !== subjectId) continue;
      const change = isPresent.has(event.id) ? undefined : { subjectId, event, todo: rule.todo, note: rule.note };
      latest.set(`${subjectId} ${rule.topic}`, change);
    }
  }
  const changes = [...latest.values()].filter((change) => change !== undefined);
  return changes.filter((change) => matters(change, latest)).sort(inOrderOfRepeating);
}

/** By time, with credentials last: one of them may be the one that repeats the others. */
function inOrderOfRepeating(a: LostChange, b: LostChange): number {
  const isLast = ({ todo }: LostChange) => Number(todo === "revoke credential");
  return isLast(a) - isLast(b) || a.event.timeMs - b.event.timeMs;
}

/** Whether no other change of the subject makes this one needless. */
function matters({ subjectId, todo }: LostChange, latest: ReadonlyMap<string, LostChange | undefined>): boolean {
  const isUnknown = latest.get(`${subjectId} ${ISSUED.topic}`) !== undefined;
  const end = latest.get(`${subjectId} ${ENDED}`);
  if (isUnknown) return todo === "issued" && end === undefined;
  return end === undefined || todo === end.todo;
}

function rulesOf(event: TrailEvent): readonly Rule[] {
  if (event.kind === "session.ended" && event.details.reason === "too_many_sessions") return [];
  // With `end_access`, a token also ends all sessions and the password.
  if (event.kind === "user.reset_token_created") return event.details.ended_sessions === undefined ? [] : PASSWORD;
  if (event.kind === "key.updated" || event.kind === "user.updated") return updateRules(event);
  if (event.kind === "credential.updated") return certificateRules(event);
  return Object.hasOwn(RULES, event.kind) ? RULES[event.kind]! : [];
}

/** The rule of the names by which a client certificate stands for a credential. An empty list has no detail. */
function certificateRules({ details }: TrailEvent): Rule[] {
  const field = "certificate_names";
  return details.fields?.split(",").includes(field) ? [fieldRule(field, details)] : [];
}

/** A rule for each field that authorizes: its value before works again. Other fields do not matter here. */
function updateRules({ details }: TrailEvent): Rule[] {
  return Object.keys(details)
    .filter((name) => name.endsWith("_after"))
    .map((name) => fieldRule(name.slice(0, -"_after".length), details));
}

function fieldRule(field: string, details: TrailEvent["details"]): Rule {
  const [before, after] = [details[`${field}_before`] ?? "", details[`${field}_after`] ?? ""];
  return { topic: `field ${field}`, todo: "decide", note: `${field} had been changed from "${before}" to "${after}"` };
}

/** For sessions: the person, because a call ends all sessions of a person. */
function subjectOf({ kind, subjectId, actorId, details }: TrailEvent, rule: Rule): string {
  if (rule.topic !== SESSIONS.topic || subjectId.startsWith("usr_")) return subjectId;
  const userId = kind === "session.token_reused" ? (details.user_id ?? "") : actorId;
  return userId.startsWith("usr_") ? userId : "";
}
