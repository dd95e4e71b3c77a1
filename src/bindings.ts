/** Which handlers serve which service, and which of them give up with the call that they are for. */
import type { WatchChangesDeps } from "./changes/watch-changes.ts";
import { AdminService } from "./gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "./gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "./gen/latchkey/v1/key_service_pb.ts";
import type { Rooms } from "./rooms.ts";
import { adminKeyHandlers } from "./rpc/admin-key-handlers.ts";
import { adminUserHandlers } from "./rpc/admin-user-handlers.ts";
import { auditHandlers } from "./rpc/audit-handlers.ts";
import { authHandlers } from "./rpc/auth-handlers.ts";
import { keyHandlers } from "./rpc/key-handlers.ts";
import { PageTokens } from "./rpc/page-token.ts";
import { perCall } from "./rpc/per-call.ts";
import { bind } from "./rpc/routes.ts";
import { serviceCredentialHandlers } from "./rpc/service-credential-handlers.ts";
import { signingKeyHandlers } from "./rpc/signing-key-handlers.ts";
import { verifyHandlers } from "./rpc/verify-handlers.ts";
import { watchHandlers } from "./rpc/watch-handlers.ts";

/** All that this service answers to. Who gives up changes nothing (docs/adr/0016): those made per call work for it alone. */
export function bindingsOf(room: Rooms, watchDeps: WatchChangesDeps) {
  const pageTokens = new PageTokens(room.keyDeps.ring);
  const { within, authDeps } = room;
  // A replayed token ends its session, and a logout counts, though their client has gone.
  const { refresh, logout } = authHandlers({ ...authDeps, pageTokens });
  const auth = perCall((signal) => authHandlers({ ...within(signal).authDeps, pageTokens }));
  return [
    bind(AuthService, { ...auth, refresh, logout }),
    bind(KeyService, {
      ...perCall((signal) => keyHandlers({ ...within(signal).keyDeps, pageTokens })),
      ...verifyHandlers(room.verifyDeps),
      ...watchHandlers(watchDeps),
    }),
    bind(AdminService, {
      ...perCall((signal) => adminUserHandlers({ ...within(signal).authDeps, pageTokens })),
      ...perCall((signal) => serviceCredentialHandlers({ ...within(signal).keyDeps, pageTokens })),
      ...adminKeyHandlers({ ...room.verifyDeps, audit: room.audit }),
      ...perCall((signal) => signingKeyHandlers(within(signal).signingKeyDeps)),
      ...perCall((signal) => auditHandlers({ ...within(signal), pageTokens })),
    }),
  ];
}
