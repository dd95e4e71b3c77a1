import type { KnownActor } from "../../audit/actor.ts";
import { hasScope } from "../access.ts";
import type { Call } from "../call.ts";

/** Who acts, for the rooms. Only for methods that want a credential: anyone else is our own mistake. */
export function actorOf(call: Pick<Call, "caller" | "clientIp">): KnownActor {
  const { caller, clientIp } = call;
  switch (caller.kind) {
    case "user":
      return { kind: "user", id: caller.userId, sessionId: caller.sessionId, clientIp };
    case "service":
      return { kind: "service", id: caller.credentialId, clientIp, manages: hasScope(caller.scopes, ["manage"]) };
    case "anonymous":
      throw new Error("an anonymous caller reached a method that needs a credential");
    default:
      return caller satisfies never;
  }
}
