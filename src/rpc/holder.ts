import { addressHolder, type Holder, knownHolder } from "../shares/holder.ts";
import type { Call } from "./call.ts";

/** Whom a call belongs to, as far as it is known. The address is looked at only where there is no caller. */
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
