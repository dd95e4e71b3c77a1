import type { KnownActor } from "../../audit/actor.ts";
import { hasScope } from "../access.ts";
import type { Call } from "../call.ts";

/** The actor of a call, as the business rooms see it. Only for methods that need a credential. */
export function actorOf(call: Pick<Call, "caller" | "clientIp">): KnownActor {
  const { caller, clientIp } = call;
  switch (caller.kind) {
    case "user":
      return { kind: "user", id: caller.userId, sessionId: caller.sessionId, clientIp };
    case "service":
      return { kind: "service", id: caller.credentialId, clientIp, manages: hasScope(caller.scopes, ["manage"]) };
    case "anonymous":
      throw new Error("the access table let an anonymous caller into a method that needs a credential");
    default:
      return caller satisfies never;
  }
}
