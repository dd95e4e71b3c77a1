import { type ChangePasswordDeps, changePassword } from "../../auth/change-password.ts";
import { type CompletePasswordResetDeps, completePasswordReset } from "../../auth/complete-password-reset.ts";
import { getCurrentUser } from "../../auth/get-current-user.ts";
import type { GetUserDeps } from "../../auth/get-user.ts";
import { type ListSessionsDeps, listSessions } from "../../auth/list-sessions.ts";
import { type LoginDeps, login } from "../../auth/login.ts";
import { type LogoutDeps, logout } from "../../auth/logout.ts";
import { type RefreshDeps, refresh } from "../../auth/refresh.ts";
import { type RegisterDeps, register } from "../../auth/register.ts";
import { type RevokeSessionDeps, revokeSession } from "../../auth/revoke-session.ts";
import { type UpdateCurrentUserDeps, updateCurrentUser } from "../../auth/update-current-user.ts";
import type { AuthService } from "../../gen/latchkey/v1/auth_service_pb.ts";
import { UserSchema } from "../../gen/latchkey/v1/user_pb.ts";
import type { Call, UnaryHandlers } from "../call.ts";
import { maskPaths } from "./field-mask.ts";
import { listPage, type PageTokens } from "./page-token.ts";
import { sessionMessage, tokenPairMessage, userMessage } from "./user-messages.ts";

/** The dependencies of the verbs, by group. */
export interface AuthHandlersDeps {
  readonly logins: RegisterDeps & LoginDeps & ChangePasswordDeps;
  readonly resets: CompletePasswordResetDeps;
  readonly sessions: RefreshDeps & LogoutDeps & ListSessionsDeps & RevokeSessionDeps;
  readonly profiles: GetUserDeps & UpdateCurrentUserDeps;
  readonly pageTokens: PageTokens;
}

/** The RPCs of AuthService: accounts, sessions and passwords of users. */
export function authHandlers(deps: AuthHandlersDeps): UnaryHandlers<typeof AuthService> {
  return {
    async register(request, call) {
      const { email, password, displayName } = request;
      const { user, tokens } = await register(deps.logins, { email, password, displayName, ...originOf(call) });
      return { user: userMessage(user), tokens: tokenPairMessage(tokens) };
    },
    async login(request, call) {
      const { email, password, refreshToken } = request;
      const { user, tokens } = await login(deps.logins, { email, password, refreshToken, ...originOf(call) });
      return { user: userMessage(user), tokens: tokenPairMessage(tokens) };
    },
    async refresh({ refreshToken }, { clientIp }) {
      return { tokens: tokenPairMessage(await refresh(deps.sessions, { refreshToken, clientIp })) };
    },
    async logout({ refreshToken }, { clientIp }) {
      await logout(deps.sessions, { refreshToken, clientIp });
      return {};
    },
    async getCurrentUser(_request, call) {
      return { user: userMessage(await getCurrentUser(deps.profiles, { userId: userOf(call).userId })) };
    },
    async updateCurrentUser(request, call) {
      maskPaths(request.updateMask, ["display_name"], UserSchema, request.user);
      const { userId } = userOf(call);
      const displayName = request.user?.displayName ?? "";
      const user = await updateCurrentUser(deps.profiles, { userId, displayName, clientIp: call.clientIp });
      return { user: userMessage(user) };
    },
    async changePassword(request, call) {
      const { currentPassword, newPassword } = request;
      const input = { userId: userOf(call).userId, currentPassword, newPassword, ...originOf(call) };
      return { tokens: tokenPairMessage(await changePassword(deps.logins, input)) };
    },
    async completePasswordReset(request, call) {
      const { resetToken, newPassword, revokeKeys } = request;
      const completed = await completePasswordReset(deps.resets, {
        resetToken,
        newPassword,
        revokeKeys,
        ...originOf(call),
      });
      return { tokens: tokenPairMessage(completed.tokens), revokedKeys: completed.revokedKeys };
    },
    async listSessions(request, call) {
      const { userId, sessionId } = userOf(call);
      const { page, nextPageToken } = await listPage(deps.pageTokens, { request, call, filter: [] }, (place) =>
        listSessions(deps.sessions, { userId, ...place }),
      );
      return { sessions: page.items.map((session) => sessionMessage(session, sessionId)), nextPageToken };
    },
    async revokeSession({ sessionId }, call) {
      await revokeSession(deps.sessions, { userId: userOf(call).userId, sessionId, clientIp: call.clientIp });
      return {};
    },
  };
}

/** The facts of a call that a session and the login throttle record, and the signal that ends the call. */
function originOf(call: Call) {
  return { clientIp: call.clientIp, userAgent: call.userAgent, signal: call.signal };
}

/** The calling user. Only for methods whose access rule admits users alone. */
function userOf({ caller }: Call) {
  if (caller.kind !== "user")
    throw new Error("the access table let a caller who is not a user into a method for users");
  return caller;
}
