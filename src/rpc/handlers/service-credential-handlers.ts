import type { AdminService } from "../../gen/latchkey/v1/admin_service_pb.ts";
import { ServiceCredential_State as StateMessage } from "../../gen/latchkey/v1/service_credential_pb.ts";
import {
  type IssueServiceCredentialDeps,
  issueServiceCredential,
} from "../../keys/credentials/issue-service-credential.ts";
import { listServiceCredentials } from "../../keys/credentials/list-service-credentials.ts";
import {
  type RevokeServiceCredentialDeps,
  revokeServiceCredential,
} from "../../keys/credentials/revoke-service-credential.ts";
import { rotateServiceCredential } from "../../keys/credentials/rotate-service-credential.ts";
import { type Key, type KeyState, keyState } from "../../keys/key.ts";
import type { ListKeysDeps } from "../../keys/list-keys.ts";
import type { RotateKeyDeps } from "../../keys/rotate-key.ts";
import type { UnaryHandlers } from "../call.ts";
import { actorOf } from "./actor.ts";
import { listPage, type PageTokens } from "./page-token.ts";
import { durationToMs, optionalTimestamp, timestampToMs, toTimestamp } from "./times.ts";

export interface ServiceCredentialHandlersDeps
  extends IssueServiceCredentialDeps,
    RotateKeyDeps,
    RevokeServiceCredentialDeps,
    ListKeysDeps {
  readonly store: IssueServiceCredentialDeps["store"] &
    RotateKeyDeps["store"] &
    RevokeServiceCredentialDeps["store"] &
    ListKeysDeps["store"];
  readonly pageTokens: PageTokens;
}

type ServiceCredentialHandlers = Pick<
  UnaryHandlers<typeof AdminService>,
  "issueServiceCredential" | "listServiceCredentials" | "rotateServiceCredential" | "revokeServiceCredential"
>;

const STATES: Readonly<Record<KeyState, StateMessage>> = {
  active: StateMessage.ACTIVE,
  disabled: StateMessage.DISABLED,
  revoked: StateMessage.REVOKED,
  expired: StateMessage.EXPIRED,
};

/** The RPCs of AdminService about service credentials, with which services and operators authenticate. */
export function serviceCredentialHandlers(deps: ServiceCredentialHandlersDeps): ServiceCredentialHandlers {
  const message = (key: Key) => credentialMessage(key, deps.databaseClock.nowMs());
  return {
    issueServiceCredential: async (request, call) => {
      const { credential, secret } = await issueServiceCredential(deps, {
        by: actorOf(call),
        name: request.name,
        scopes: request.scopes,
        expiresAtMs: request.expireTime && timestampToMs("expire_time", request.expireTime),
        requestId: request.requestId,
      });
      return { credential: message(credential), secret };
    },
    listServiceCredentials: async (request, call) => {
      const { showEnded } = request;
      const list = { request, call, filter: [showEnded] };
      const { page, nextPageToken } = await listPage(deps.pageTokens, list, (place) =>
        listServiceCredentials(deps, { showEnded, ...place }),
      );
      return {
        credentials: page.items.map(({ key }) => message(key)),
        nextPageToken,
        totalSize: page.totalSize,
      };
    },
    rotateServiceCredential: async (request, call) => {
      const { key, rawKey } = await rotateServiceCredential(deps, {
        by: actorOf(call),
        credentialId: request.credentialId,
        overlapMs: request.overlap && durationToMs("overlap", request.overlap),
        requestId: request.requestId,
      });
      return { credential: message(key), secret: rawKey };
    },
    revokeServiceCredential: async ({ credentialId, reason }, call) => ({
      credential: message(await revokeServiceCredential(deps, { by: actorOf(call), credentialId, reason })),
    }),
  };
}

function credentialMessage(key: Key, nowMs: number) {
  return {
    id: key.id,
    name: key.name,
    scopes: [...key.scopes],
    state: STATES[keyState(key, nowMs)],
    createTime: toTimestamp(key.createdAtMs),
    expireTime: optionalTimestamp(key.expiresAtMs),
    lastUseTime: optionalTimestamp(key.lastUsedAtMs),
    prefix: key.prefix,
  };
}
