/** Which handlers serve which service, and which of them stop when the client of their call has gone. */

import { authenticateUser } from "../auth/authenticate-user.ts";
import { authorization } from "../envoy/authorization.ts";
import type { RateLimitFile } from "../envoy/rate-limit-file.ts";
import { readRateLimitRequest } from "../envoy/rate-limit-message.ts";
import { rateLimitHandlers } from "../envoy/rate-limit-service.ts";
import { Authorization } from "../gen/envoy/service/auth/v3/external_auth_pb.ts";
import { RateLimitService } from "../gen/envoy/service/ratelimit/v3/rls_pb.ts";
import { AdminService } from "../gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "../gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "../gen/latchkey/v1/key_service_pb.ts";
import type { Log } from "../lib/log.ts";
import { adminKeyHandlers } from "../rpc/handlers/admin-key-handlers.ts";
import { adminUserHandlers } from "../rpc/handlers/admin-user-handlers.ts";
import { auditHandlers } from "../rpc/handlers/audit-handlers.ts";
import { authHandlers } from "../rpc/handlers/auth-handlers.ts";
import { keyHandlers } from "../rpc/handlers/key-handlers.ts";
import { madePerCall } from "../rpc/handlers/made-per-call.ts";
import { PageTokens } from "../rpc/handlers/page-token.ts";
import { type ServerInfo, serverInfoHandlers } from "../rpc/handlers/server-info-handlers.ts";
import { serviceCredentialHandlers } from "../rpc/handlers/service-credential-handlers.ts";
import { signingKeyHandlers } from "../rpc/handlers/signing-key-handlers.ts";
import { verifyHandlers } from "../rpc/handlers/verify-handlers.ts";
import { type WatchHandlersDeps, watchHandlers } from "../rpc/handlers/watch-handlers.ts";
import { bind, bindBytes } from "../rpc/routes.ts";
import type { CallRooms } from "./rooms.ts";

export interface BoundRooms extends CallRooms {
  readonly log: Log;
  readonly rateLimits: Pick<RateLimitFile, "rules">;
  readonly info: ServerInfo;
}

/**
 * All RPCs of this service. Handlers that are given the whole `asker` change nothing once their call has ended
 * (docs/adr/0016). Handlers that are given its holder alone finish their work although the client has gone.
 */
export function bindingsOf(rooms: BoundRooms, watchDeps: WatchHandlersDeps) {
  const { ring, keys, users, signing, audit, log, rateLimits, info } = rooms;
  const pageTokens = new PageTokens(ring);
  const auth = madePerCall((asker) => authHandlers({ ...users.accountsFor(asker), pageTokens }));
  // A replayed token ends its session, and a logout counts, although the client has gone.
  const { refresh, logout } = madePerCall(({ holder }) =>
    authHandlers({ ...users.accountsFor({ holder }), pageTokens }),
  );
  return [
    bind(AuthService, { ...auth, refresh, logout }),
    bind(KeyService, {
      ...madePerCall((asker) => keyHandlers({ ...keys.managementFor(asker), pageTokens })),
      ...verifyHandlers(keys.verification),
      ...watchHandlers(watchDeps),
    }),
    bind(AdminService, {
      ...madePerCall((asker) => adminUserHandlers({ ...users.administrationFor(asker), pageTokens })),
      ...madePerCall((asker) => serviceCredentialHandlers({ ...keys.managementFor(asker), pageTokens })),
      // The audit trail records which limits were reset in Redis, although the client has gone.
      ...madePerCall(({ holder }) => adminKeyHandlers(keys.limitsFor({ holder }))),
      ...madePerCall((asker) => signingKeyHandlers(signing.managementFor(asker))),
      ...madePerCall((asker) => auditHandlers({ ...audit.trailFor(asker), pageTokens })),
      ...serverInfoHandlers(info),
    }),
    bind(RateLimitService, rateLimitHandlers({ ...keys.verification, rateLimits }), {
      shouldRateLimit: readRateLimitRequest,
    }),
    bindBytes(
      Authorization,
      authorization({
        ...keys.verification,
        authenticateUser: (accessToken) => authenticateUser(users.authentication, { accessToken }),
        log,
      }),
    ),
  ];
}
