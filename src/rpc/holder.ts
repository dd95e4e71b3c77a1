import { addressHolder, type Holder, knownHolder } from "../shares/holder.ts";
import type { Call } from "./call.ts";

/** The holder whose shares a call uses: its caller, or the client's address for an anonymous call. */
export function holderOf(call: Pick<Call, "caller" | "clientIp">): Holder {
  const { caller } = call;
  switch (caller.kind) {
    case "anonymous":
      return addressHolder(call.clientIp);
    case "user":
      return knownHolder(caller.userId);
    case "service":
      return knownHolder(caller.credentialId);
    default:
      return caller satisfies never;
  }
}
