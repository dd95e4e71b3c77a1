import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Session } from "../../auth/session.ts";
import type { TokenPair } from "../../auth/tokens/token-pair.ts";
import type { User, UserState } from "../../auth/user.ts";
import type { SessionSchema } from "../../gen/latchkey/v1/session_pb.ts";
import type { TokenPairSchema } from "../../gen/latchkey/v1/token_pair_pb.ts";
import { User_State, type UserSchema } from "../../gen/latchkey/v1/user_pb.ts";
import { toTimestamp } from "./times.ts";

const STATES: Readonly<Record<UserState, User_State>> = {
  active: User_State.ACTIVE,
  disabled: User_State.DISABLED,
};

export function userMessage(user: User): MessageInitShape<typeof UserSchema> {
  return {
    id: user.id,
    email: user.email,
    displayName: user.displayName,
    tier: user.tier,
    state: STATES[user.state],
    createTime: toTimestamp(user.createdAtMs),
    scopes: [...user.scopes],
  };
}

export function sessionMessage(session: Session, currentId: string): MessageInitShape<typeof SessionSchema> {
  return {
    id: session.id,
    createTime: toTimestamp(session.createdAtMs),
    lastRefreshTime: toTimestamp(session.refreshedAtMs),
    expireTime: toTimestamp(session.expiresAtMs),
    userAgent: session.userAgent,
    clientIp: session.clientIp,
    current: session.id === currentId,
  };
}

export function tokenPairMessage(tokens: TokenPair): MessageInitShape<typeof TokenPairSchema> {
  return {
    accessToken: tokens.accessToken,
    refreshToken: tokens.refreshToken,
    tokenType: "Bearer",
    accessTokenExpireTime: toTimestamp(tokens.accessExpiresAtMs),
    refreshTokenExpireTime: toTimestamp(tokens.refreshExpiresAtMs),
  };
}
