import type { MessageInitShape } from "@bufbuild/protobuf";
import { type ListSigningKeysDeps, listSigningKeys } from "../../auth/signing/list-signing-keys.ts";
import { type RevokeSigningKeyDeps, revokeSigningKey } from "../../auth/signing/revoke-signing-key.ts";
import { type RotateSigningKeyDeps, rotateSigningKey } from "../../auth/signing/rotate-signing-key.ts";
import { type SigningKeyRecord, type SigningKeyState, signingKeyState } from "../../auth/signing/signing-key.ts";
import type { DatabaseClock } from "../../changes/database-clock.ts";
import type { AdminService } from "../../gen/latchkey/v1/admin_service_pb.ts";
import { type SigningKeySchema, SigningKey_State as StateMessage } from "../../gen/latchkey/v1/signing_key_pb.ts";
import type { UnaryHandlers } from "../call.ts";
import { actorOf } from "./actor.ts";
import { optionalTimestamp, toTimestamp } from "./times.ts";

export interface SigningKeyHandlersDeps extends ListSigningKeysDeps, RotateSigningKeyDeps, RevokeSigningKeyDeps {
  readonly store: ListSigningKeysDeps["store"] & RotateSigningKeyDeps["store"] & RevokeSigningKeyDeps["store"];
  readonly databaseClock: Pick<DatabaseClock, "nowMs">;
}

type SigningKeyHandlers = Pick<
  UnaryHandlers<typeof AdminService>,
  "listSigningKeys" | "rotateSigningKey" | "revokeSigningKey"
>;

const STATES: Readonly<Record<SigningKeyState, StateMessage>> = {
  next: StateMessage.NEXT,
  active: StateMessage.ACTIVE,
  retired: StateMessage.RETIRED,
  revoked: StateMessage.REVOKED,
};

/** The RPCs of AdminService about the keys that sign access tokens. */
export function signingKeyHandlers(deps: SigningKeyHandlersDeps): SigningKeyHandlers {
  const message = (key: SigningKeyRecord) => signingKeyMessage(key, deps.databaseClock.nowMs());
  return {
    listSigningKeys: async () => ({ keys: (await listSigningKeys(deps)).map(message) }),
    rotateSigningKey: async (_, call) => ({ key: message(await rotateSigningKey(deps, { by: actorOf(call) })) }),
    revokeSigningKey: async ({ keyId }, call) => ({
      key: message(await revokeSigningKey(deps, { kid: keyId, by: actorOf(call) })),
    }),
  };
}

function signingKeyMessage(key: SigningKeyRecord, nowMs: number): MessageInitShape<typeof SigningKeySchema> {
  const ends = [key.retiresAtMs, key.revokedAtMs].filter((endMs) => endMs !== undefined);
  return {
    id: key.kid,
    algorithm: key.algorithm,
    state: STATES[signingKeyState(key, nowMs)],
    createTime: toTimestamp(key.createdAtMs),
    activateTime: toTimestamp(key.activatesAtMs),
    retireTime: optionalTimestamp(ends.length === 0 ? undefined : Math.min(...ends)),
  };
}
