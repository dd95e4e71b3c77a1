/**
 * WHO DID WHAT. An audit event is written by the very transaction that makes the change, so that there is no change
 * without its event and no event without its change.
 *
 *   actor.ts              who acts
 *   audit-event.ts        what is kept of an act
 *   audit-store.ts        what reading the trail needs
 *   list-audit-events.ts  for operators
 *   refusal-recorder.ts   attempts that failed or were refused, written behind the calls: no transaction is theirs
 *   refusal-rooms.ts      how many events they may have in an hour, and which of them have one of their own
 *   counted-event.ts      one event that counts many of them
 */

/** Who makes a change, as the audit trail records it. */
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
  /** True with the scope `manage` or `admin`: they may manage the keys of any owner. */
  readonly manages: boolean;
}

/** The fields of an audit entry that tell who acted. */
export function actedBy({ id, clientIp }: Actor): { readonly actorId: string; readonly clientIp: string } {
  return { actorId: id, clientIp };
}
