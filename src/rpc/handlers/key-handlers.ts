import { create } from "@bufbuild/protobuf";
import { KeySchema } from "../../gen/latchkey/v1/key_pb.ts";
import type { KeyService, ListKeysRequest, UpdateKeyRequest } from "../../gen/latchkey/v1/key_service_pb.ts";
import type { OwnedKey } from "../../keys/change-key.ts";
import { deleteKey } from "../../keys/delete-key.ts";
import { type DisableKeyDeps, disableKey } from "../../keys/disable-key.ts";
import { enableKey } from "../../keys/enable-key.ts";
import { getKey } from "../../keys/get-key.ts";
import { type IssueKeyDeps, issueKey } from "../../keys/issue-key.ts";
import { type ListKeysDeps, listKeys } from "../../keys/list-keys.ts";
import { revokeKey } from "../../keys/revoke-key.ts";
import { type RotateKeyDeps, rotateKey } from "../../keys/rotate-key.ts";
import { type KeyUpdate, type UpdateKeyDeps, updateKey } from "../../keys/update-key.ts";
import { invalidField } from "../../lib/errors.ts";
import type { Call, UnaryHandlers } from "../call.ts";
import { actorOf } from "./actor.ts";
import { maskPaths } from "./field-mask.ts";
import { keyMessage, limitFigures } from "./key-messages.ts";
import { listPage, type PageTokens } from "./page-token.ts";
import { durationToMs, timestampToMs } from "./times.ts";
import type { VerifyHandlers } from "./verify-handlers.ts";

export interface KeyHandlersDeps extends IssueKeyDeps, UpdateKeyDeps, DisableKeyDeps, RotateKeyDeps, ListKeysDeps {
  readonly store: IssueKeyDeps["store"] & UpdateKeyDeps["store"] & RotateKeyDeps["store"] & ListKeysDeps["store"];
  readonly pageTokens: PageTokens;
}

type ManagementHandlers = Omit<UnaryHandlers<typeof KeyService>, keyof VerifyHandlers>;

/** The RPCs of KeyService by which owners and services manage keys. */
export function keyHandlers(deps: KeyHandlersDeps): ManagementHandlers {
  const message = (owned: OwnedKey) => keyMessage(owned, deps.tiers, deps.databaseClock.nowMs());
  return {
    issueKey: async (request, call) => {
      const issued = await issueKey(deps, {
        by: actorOf(call),
        name: request.name,
        description: request.description,
        tier: request.tier,
        scopes: request.scopes,
        metadata: request.metadata,
        environment: request.environment,
        ownerId: request.ownerId,
        limits: limitFigures(request.limits),
        allowedIps: request.allowedIps,
        allowedMethods: request.allowedMethods,
        expiresAtMs: request.expireTime && timestampToMs("expire_time", request.expireTime),
        requestId: request.requestId,
      });
      return { key: message(issued), apiKey: issued.rawKey };
    },
    getKey: async ({ keyId }, call) => ({ key: message(await getKey(deps, { by: actorOf(call), keyId })) }),
    listKeys: (request, call) => list(deps, request, call),
    updateKey: async (request, call) => ({ key: message(await update(deps, request, call)) }),
    disableKey: async ({ keyId }, call) => ({ key: message(await disableKey(deps, { by: actorOf(call), keyId })) }),
    enableKey: async ({ keyId }, call) => ({ key: message(await enableKey(deps, { by: actorOf(call), keyId })) }),
    rotateKey: async (request, call) => {
      const rotated = await rotateKey(deps, {
        by: actorOf(call),
        keyId: request.keyId,
        overlapMs: request.overlap && durationToMs("overlap", request.overlap),
        requestId: request.requestId,
      });
      return { key: message(rotated), apiKey: rotated.rawKey };
    },
    revokeKey: async ({ keyId, reason }, call) => ({
      key: message(await revokeKey(deps, { by: actorOf(call), keyId, reason })),
    }),
    deleteKey: async ({ keyId }, call) => {
      await deleteKey(deps, { by: actorOf(call), keyId });
      return {};
    },
  };
}

async function list(deps: KeyHandlersDeps, request: ListKeysRequest, call: Call) {
  const { ownerId, showEnded } = request;
  const filter = [ownerId, showEnded];
  const { page, nextPageToken } = await listPage(deps.pageTokens, { request, call, filter }, (place) =>
    listKeys(deps, { by: actorOf(call), ownerId, showEnded, ...place }),
  );
  const nowMs = deps.databaseClock.nowMs();
  return {
    keys: page.items.map((owned) => keyMessage(owned, deps.tiers, nowMs)),
    nextPageToken,
    totalSize: page.totalSize,
  };
}

const UPDATE_PATHS = [
  "name",
  "description",
  "scopes",
  "metadata",
  "allowed_ips",
  "allowed_methods",
  "expire_time",
  "tier",
  "limits",
] as const;

function update(deps: KeyHandlersDeps, request: UpdateKeyRequest, call: Call): Promise<OwnedKey> {
  const paths = maskPaths(request.updateMask, UPDATE_PATHS, KeySchema, request.key);
  const key = request.key ?? create(KeySchema);
  if (key.id === "") throw invalidField("key.id", "must be the id of the key to update");
  const values: Required<KeyUpdate> = {
    name: key.name,
    description: key.description,
    scopes: key.scopes,
    metadata: key.metadata,
    allowed_ips: key.allowedIps,
    allowed_methods: key.allowedMethods,
    expire_time: key.expireTime === undefined ? null : timestampToMs("key.expire_time", key.expireTime),
    tier: key.tier,
    limits: limitFigures(key.limits) ?? { perMinute: undefined, perDay: undefined },
  };
  const chosen = Object.fromEntries([...paths].map((path) => [path, values[path]])) as KeyUpdate;
  return updateKey(deps, { by: actorOf(call), keyId: key.id, update: chosen, etag: key.etag });
}
