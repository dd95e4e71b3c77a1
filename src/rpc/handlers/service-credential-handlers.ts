import { create } from "@bufbuild/protobuf";
import type { AdminService } from "../../gen/latchkey/v1/admin_service_pb.ts";
import {
  ServiceCredentialSchema,
  ServiceCredential_State as StateMessage,
} from "../../gen/latchkey/v1/service_credential_pb.ts";
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
import {
  type UpdateServiceCredentialDeps,
  updateServiceCredential,
} from "../../keys/credentials/update-service-credential.ts";
import { type Key, type KeyState, keyEtag, keyState } from "../../keys/key.ts";
import type { ListKeysDeps } from "../../keys/list-keys.ts";
import type { RotateKeyDeps } from "../../keys/rotate-key.ts";
import type { UnaryHandlers } from "../call.ts";
import { actorOf } from "./actor.ts";
import { maskPaths } from "./field-mask.ts";
import { listPage, type PageTokens } from "./page-token.ts";
import { durationToMs, optionalTimestamp, timestampToMs, toTimestamp } from "./times.ts";

export interface ServiceCredentialHandlersDeps
  extends IssueServiceCredentialDeps,
    RotateKeyDeps,
    RevokeServiceCredentialDeps,
    UpdateServiceCredentialDeps,
    ListKeysDeps {
  readonly store: IssueServiceCredentialDeps["store"] &
    RotateKeyDeps["store"] &
    RevokeServiceCredentialDeps["store"] &
    UpdateServiceCredentialDeps["store"] &
    ListKeysDeps["store"];
  readonly pageTokens: PageTokens;
}

type ServiceCredentialHandlers = Pick<
  UnaryHandlers<typeof AdminService>,
  | "issueServiceCredential"
  | "updateServiceCredential"
  | "listServiceCredentials"
  | "rotateServiceCredential"
  | "revokeServiceCredential"
>;

const UPDATE_PATHS = ["name", "certificate_names"] as const;

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
        certificateNames: request.certificateNames,
      });
      return { credential: message(credential), secret };
    },
    updateServiceCredential: async (request, call) => {
      const paths = maskPaths(request.updateMask, UPDATE_PATHS, ServiceCredentialSchema, request.credential);
      const credential = request.credential ?? create(ServiceCredentialSchema);
      const update = {
        ...(paths.has("name") && { name: credential.name }),
        ...(paths.has("certificate_names") && { certificate_names: credential.certificateNames }),
      };
      const input = { by: actorOf(call), credentialId: credential.id, update, etag: credential.etag };
      return { credential: message(await updateServiceCredential(deps, input)) };
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
    certificateNames: [...key.certificateNames],
    etag: keyEtag(key),
  };
}
