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

/** A user acting on what is his, or a service or operator with a credential. */
export type Actor = UserActor | ServiceActor;

interface UserActor {
  readonly kind: "user";
  readonly id: string;
  /** The session that the call is made with. */
  readonly sessionId: string;
  /** The address that the call came from, through trusted proxies. */
  readonly clientIp: string;
}

interface ServiceActor {
  readonly kind: "service";
  readonly id: string;
  readonly clientIp: string;
  /** True for the scopes `manage` and `admin`: keys of any owner. */
  readonly manages: boolean;
}
