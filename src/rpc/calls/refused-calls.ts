import type { Refusal, RefusalRecorder } from "../../audit/refusal-recorder.ts";
import type { Outcome } from "./call-log.ts";
import type { LiveCall } from "./live-call.ts";

/**
 * Records on the audit trail that a valid credential was refused a call, or that a genuine credential was used after
 * its end. Calls with made-up credentials are only in the log.
 */
export function noteRefusedCall(recorder: Pick<RefusalRecorder, "note">, call: LiveCall, outcome: Outcome): void {
  const refusal = spentCredential(outcome) ?? deniedCall(call, outcome);
  if (refusal !== undefined) recorder.note({ ...refusal, clientIp: call.clientIp });
}

/** A token of an ended session, or a reset token that was used before or has expired. */
function spentCredential({ untold }: Outcome): Omit<Refusal, "clientIp"> | undefined {
  if (untold?.spent === undefined) return undefined;
  const { kind, userId, sessionId } = untold.spent;
  const facts: Record<string, string> = sessionId === undefined ? {} : { session_id: sessionId };
  const of = kind === "reset_token" ? "reset_token" : "session";
  return { kind: `${of}.refused`, room: "known", about: userId, subjectId: userId, facts, tally: `by ${kind}` };
}

/** A denied method, field or grant, or another caller's object, which the service reports as not found. */
function deniedCall({ caller, method }: LiveCall, outcome: Outcome): Omit<Refusal, "clientIp"> | undefined {
  const isDenied = outcome.code === "PERMISSION_DENIED" || outcome.untold?.isAnothers === true;
  if (caller.kind === "anonymous" || !isDenied) return undefined;
  const id = caller.kind === "user" ? caller.userId : caller.credentialId;
  const tally = `call ${method.parent.name}.${method.name}:${outcome.reason}`;
  return { kind: "access.refused", room: "known", about: id, actorId: id, subjectId: id, tally };
}
