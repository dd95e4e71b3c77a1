/**
 * AUDIT. Who did what. The transaction that makes a change also writes its audit event, so that there is no change
 * without its event and no event without its change. Attempts that fail change nothing, so the service records them
 * separately, in the background.
 *
 *   actor.ts              who acts
 *   audit-event.ts        what is recorded about an act
 *   audit-store.ts        what the room needs from the database
 *   list-audit-events.ts  reads the audit trail, for operators
 *   refusal-recorder.ts   records attempts that failed or were refused, in the background
 *   refusal-rooms.ts      how many of those events may begin in an hour, and which subjects get an event of their own
 *   counted-event.ts      one event that counts many refusals
 *
 * The room knows nothing of keys, passwords, gRPC or SQL. It never records a secret.
 */

/** The author of a change, as the audit trail records them. */
export interface Actor {
  /** Id of a user or a service credential, `bootstrap`, or empty for an anonymous caller and for the service itself. */
  readonly id: string;
  /** The address that the call came from, as trusted proxies report it. Empty if no call caused the change. */
  readonly clientIp: string;
}

/** An actor whose credential was checked, so that a verb can decide what they may do. */
export type KnownActor = UserActor | ServiceActor;

/** A user, who acts on their own account and keys. */
export interface UserActor extends Actor {
  readonly kind: "user";
  /** The session that the call is made with. */
  readonly sessionId: string;
}

/** A service or an operator with a service credential. */
export interface ServiceActor extends Actor {
  readonly kind: "service";
  /** True if the credential has the scope `manage` or `admin`: then they may manage the keys of any owner. */
  readonly manages: boolean;
}

/** The fields of an audit entry that tell who acted. */
export function actedBy({ id, clientIp }: Actor): { readonly actorId: string; readonly clientIp: string } {
  return { actorId: id, clientIp };
}
