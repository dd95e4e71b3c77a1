/** Which handlers serve which service, and which of them give up with the call that they are for. */
import type { WatchChangesDeps } from "../changes/watch-changes.ts";
import { AdminService } from "../gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "../gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "../gen/latchkey/v1/key_service_pb.ts";
import { adminKeyHandlers } from "../rpc/handlers/admin-key-handlers.ts";
import { adminUserHandlers } from "../rpc/handlers/admin-user-handlers.ts";
import { auditHandlers } from "../rpc/handlers/audit-handlers.ts";
import { authHandlers } from "../rpc/handlers/auth-handlers.ts";
import { keyHandlers } from "../rpc/handlers/key-handlers.ts";
import { madePerCall } from "../rpc/handlers/made-per-call.ts";
import { PageTokens } from "../rpc/handlers/page-token.ts";
import { serviceCredentialHandlers } from "../rpc/handlers/service-credential-handlers.ts";
import { signingKeyHandlers } from "../rpc/handlers/signing-key-handlers.ts";
import { verifyHandlers } from "../rpc/handlers/verify-handlers.ts";
import { watchHandlers } from "../rpc/handlers/watch-handlers.ts";
import { bind } from "../rpc/routes.ts";
import type { CallRooms } from "./rooms.ts";

/** All that this service answers to. A call that gives up changes nothing (docs/adr/0016): those made with a signal work for it alone. */
export function bindingsOf({ within, ring, verifyDeps }: CallRooms, watchDeps: WatchChangesDeps) {
  const pageTokens = new PageTokens(ring);
  const auth = madePerCall((asker) => authHandlers({ ...within(asker).authDeps, pageTokens }));
  // A replayed token ends its session, and a logout counts, though their client has gone.
  const { refresh, logout } = madePerCall(({ holder }) => authHandlers({ ...within({ holder }).authDeps, pageTokens }));
  return [
    bind(AuthService, { ...auth, refresh, logout }),
    bind(KeyService, {
      ...madePerCall((asker) => keyHandlers({ ...within(asker).keyDeps, pageTokens })),
      ...verifyHandlers(verifyDeps),
      ...watchHandlers(watchDeps),
    }),
    bind(AdminService, {
      ...madePerCall((asker) => adminUserHandlers({ ...within(asker).authDeps, pageTokens })),
      ...madePerCall((asker) => serviceCredentialHandlers({ ...within(asker).keyDeps, pageTokens })),
      // What was reset in Redis is put on record, though its client has gone.
      ...madePerCall(({ holder }) => {
        const { keyDeps, limiter, audit } = within({ holder });
        return adminKeyHandlers({ ...keyDeps, limiter, audit });
      }),
      ...madePerCall((asker) => signingKeyHandlers(within(asker).signingKeyDeps)),
      ...madePerCall((asker) => auditHandlers({ ...within(asker), pageTokens })),
    }),
  ];
}
