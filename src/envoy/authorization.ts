/**
 * ENVOY. A door for the protocols by which Envoy, and what speaks as it does, asks others about its requests: external
 * authorization (envoy.service.auth.v3), and the rate limit service, whose map is in rate-limit-service.ts. Calls come
 * by the lanes of `rpc/` and pass the same concerns as all others. This room turns a message into a verdict, and the
 * verdict into what Envoy is to do.
 *
 *   authorization.ts    a check: from the request that Envoy asks about to the answer
 *   checked-request.ts  that request, read from the bytes of a CheckRequest
 *   message-fields.ts   reads the fields of a message from its bytes, also if its texts are no UTF-8
 *   route-settings.ts   what the route asks for, from its context_extensions
 *   faulty-routes.ts    tells the log of routes whose settings are wrong
 *   judgement.ts        whether the request is admitted, and who sent it
 *   identity.ts         the facts that Envoy hands on, and the headers that must not reach the upstream
 *   check-response.ts   the answer, as the bytes of a CheckResponse
 *
 * The looks of an answer are those of `answers/`, which the client's middleware has, too. The room knows nothing of
 * HTTP/2, SQL or Redis.
 */
import { denial } from "../answers/decision.ts";
import { checkResponse } from "./check-response.ts";
import { type CheckedRequest, readCheckRequest } from "./checked-request.ts";
import { FaultyRoutes, type FaultyRoutesDeps } from "./faulty-routes.ts";
import { type JudgementDeps, judgeRequest } from "./judgement.ts";
import { routeSettings } from "./route-settings.ts";

export type AuthorizationDeps = JudgementDeps & FaultyRoutesDeps;

/** The call of a proxy, as far as this room needs it. Only a service has a credential. */
export interface AskingCall {
  readonly caller: { readonly kind: string; readonly credentialId?: string };
}

/**
 * envoy.service.auth.v3.Authorization.Check. A refused request is an answer, too. An error means that there is no
 * verdict, and Envoy's `failure_mode_allow` decides: DATABASE_UNAVAILABLE, MASTER_KEY_MISSING.
 */
export function authorization(deps: AuthorizationDeps) {
  const faultyRoutes = new FaultyRoutes(deps);
  return {
    read: readCheckRequest,
    handle(request: CheckedRequest, { caller }: AskingCall): Uint8Array | Promise<Uint8Array> {
      const settings = routeSettings(request.extensions);
      if ("faults" in settings) {
        faultyRoutes.note(settings.faults);
        return checkResponse(request, { decision: denial("CONFIGURATION") });
      }
      const judged = judgeRequest(deps, request, settings, caller.credentialId);
      if (judged instanceof Promise) return judged.then((one) => checkResponse(request, one));
      return checkResponse(request, judged);
    },
  };
}
