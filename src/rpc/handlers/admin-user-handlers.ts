import { type ClearLoginFailuresDeps, clearLoginFailures } from "../../auth/clear-login-failures.ts";
import { type CreatePasswordResetDeps, createPasswordReset } from "../../auth/create-password-reset.ts";
import { type CreateUserDeps, createUser } from "../../auth/create-user.ts";
import { type DisableUserDeps, disableUser } from "../../auth/disable-user.ts";
import { type EnableUserDeps, enableUser } from "../../auth/enable-user.ts";
import { type EndUserSessionsDeps, endUserSessions } from "../../auth/end-user-sessions.ts";
import { type GetUserDeps, getUser } from "../../auth/get-user.ts";
import { type ListUsersDeps, listUsers } from "../../auth/list-users.ts";
import { type UpdateUserDeps, updateUser } from "../../auth/update-user.ts";
import type { AdminService } from "../../gen/latchkey/v1/admin_service_pb.ts";
import { type User as UserFields, UserSchema } from "../../gen/latchkey/v1/user_pb.ts";
import { invalidField } from "../../lib/errors.ts";
import type { UnaryHandlers } from "../call.ts";
import { actorOf } from "./actor.ts";
import { maskPaths } from "./field-mask.ts";
import { listPage, type PageTokens } from "./page-token.ts";
import { toTimestamp } from "./times.ts";
import { userMessage } from "./user-messages.ts";

export type AdminUserHandlersDeps = CreateUserDeps &
  ListUsersDeps &
  GetUserDeps &
  UpdateUserDeps &
  DisableUserDeps &
  EnableUserDeps &
  CreatePasswordResetDeps &
  ClearLoginFailuresDeps &
  EndUserSessionsDeps & { readonly pageTokens: PageTokens };

type AdminUserMethods =
  | "createUser"
  | "listUsers"
  | "getUser"
  | "updateUser"
  | "disableUser"
  | "enableUser"
  | "createPasswordReset"
  | "clearLoginFailures"
  | "endUserSessions";

const WRITABLE = ["tier", "scopes", "display_name"] as const;

/** The RPCs of AdminService about users. */
export function adminUserHandlers(
  deps: AdminUserHandlersDeps,
): Required<Pick<UnaryHandlers<typeof AdminService>, AdminUserMethods>> {
  return {
    async createUser(request, call) {
      const { email, displayName, tier, scopes } = request;
      const created = await createUser(deps, { email, displayName, tier, scopes, by: actorOf(call) });
      return {
        user: userMessage(created.user),
        resetToken: created.resetToken,
        resetExpireTime: toTimestamp(created.resetExpiresAtMs),
      };
    },
    async listUsers(request, call) {
      const { email } = request;
      const list = { request, call, filter: [email] };
      const { page, nextPageToken } = await listPage(deps.pageTokens, list, (place) =>
        listUsers(deps, { email, ...place }),
      );
      return { users: page.items.map(userMessage), nextPageToken };
    },
    async getUser({ userId }) {
      return { user: userMessage(await getUser(deps, { userId })) };
    },
    async updateUser(request, call) {
      const paths = maskPaths(request.updateMask, WRITABLE, UserSchema, request.user);
      if (request.user === undefined) throw invalidField("user", "must be set");
      const patch = patchOf(request.user, paths);
      return { user: userMessage(await updateUser(deps, { userId: request.user.id, patch, by: actorOf(call) })) };
    },
    async disableUser({ userId }, call) {
      return { user: userMessage(await disableUser(deps, { userId, by: actorOf(call) })) };
    },
    async enableUser({ userId }, call) {
      return { user: userMessage(await enableUser(deps, { userId, by: actorOf(call) })) };
    },
    async createPasswordReset({ userId, revokeKeys, endAccess }, call) {
      const created = await createPasswordReset(deps, { userId, revokeKeys, endAccess, by: actorOf(call) });
      const { resetToken, expiresAtMs, revokesKeys } = created;
      return { resetToken, expireTime: toTimestamp(expiresAtMs), revokesKeys };
    },
    async clearLoginFailures({ userId }, call) {
      await clearLoginFailures(deps, { userId, by: actorOf(call) });
      return {};
    },
    async endUserSessions({ userId }, call) {
      await endUserSessions(deps, { userId, by: actorOf(call) });
      return {};
    },
  };
}

function patchOf(user: UserFields, paths: ReadonlySet<(typeof WRITABLE)[number]>) {
  return {
    ...(paths.has("tier") && { tier: user.tier }),
    ...(paths.has("scopes") && { scopes: user.scopes }),
    ...(paths.has("display_name") && { displayName: user.displayName }),
  };
}
