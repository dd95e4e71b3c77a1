import type { AdminService } from "../../gen/latchkey/v1/admin_service_pb.ts";
import { type ResetRateLimitsDeps, resetRateLimits } from "../../keys/reset-rate-limits.ts";
import type { UnaryHandlers } from "../call.ts";
import { actorOf } from "./actor.ts";

/** The RPCs of AdminService about API keys. Operators use KeyService for everything else about keys. */
export function adminKeyHandlers(
  deps: ResetRateLimitsDeps,
): Pick<UnaryHandlers<typeof AdminService>, "resetRateLimits"> {
  return {
    async resetRateLimits({ keyId }, call) {
      await resetRateLimits(deps, { by: actorOf(call), keyId });
      return {};
    },
  };
}
