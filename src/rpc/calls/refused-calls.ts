import type { Refusal, RefusalRecorder } from "../../audit/refusal-recorder.ts";
import type { Outcome } from "./call-log.ts";
import type { LiveCall } from "./live-call.ts";

/**
 * Puts on record that a good credential was refused what it asked for, or that a genuine one was shown which is good no
 * longer. Calls with made-up credentials are in the log alone.
 */
export function noteRefusedCall(recorder: Pick<RefusalRecorder, "note">, call: LiveCall, outcome: Outcome): void {
  const refusal = spentCredential(outcome) ?? deniedCall(call, outcome);
  if (refusal !== undefined) recorder.note({ ...refusal, clientIp: call.clientIp });
}

/** A token of an ended session, or a reset token that is used up or has expired. */
function spentCredential({ untold }: Outcome): Omit<Refusal, "clientIp"> | undefined {
  if (untold?.spent === undefined) return undefined;
  const { kind, userId, sessionId } = untold.spent;
  const facts: Record<string, string> = sessionId === undefined ? {} : { session_id: sessionId };
  const of = kind === "reset_token" ? "reset_token" : "session";
  return { kind: `${of}.refused`, room: "known", about: userId, subjectId: userId, facts, tally: `by ${kind}` };
}

/**
 * A method, field or grant that the caller may not have, or what is someone else's: the caller was told that it is not
 * there.
 */
function deniedCall({ caller, method }: LiveCall, outcome: Outcome): Omit<Refusal, "clientIp"> | undefined {
  const isDenied = outcome.code === "PERMISSION_DENIED" || outcome.untold?.isAnothers === true;
  if (caller.kind === "anonymous" || !isDenied) return undefined;
  const id = caller.kind === "user" ? caller.userId : caller.credentialId;
  const tally = `call ${method.parent.name}.${method.name}:${outcome.reason}`;
  return { kind: "access.refused", room: "known", about: id, actorId: id, subjectId: id, tally };
}
