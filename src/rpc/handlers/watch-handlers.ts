import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ChangeKind } from "../../changes/change.ts";
import { type WatchChangesDeps, type WatchMessage, watchChanges } from "../../changes/watch-changes.ts";
import { Change_Kind as KindMessage } from "../../gen/latchkey/v1/change_pb.ts";
import type { KeyService, WatchRevocationsResponseSchema } from "../../gen/latchkey/v1/key_service_pb.ts";
import type { StreamHandlers } from "../routes.ts";
import { toTimestamp } from "./times.ts";

const KINDS: Readonly<Record<ChangeKind, KindMessage>> = {
  KEY: KindMessage.KEY,
  OWNER: KindMessage.OWNER,
  SESSION: KindMessage.SESSION,
  SERVICE_CREDENTIAL: KindMessage.SERVICE_CREDENTIAL,
  SIGNING_KEY: KindMessage.SIGNING_KEY,
};

/** The stream that tells clients which of their cached verdicts no longer hold. */
export function watchHandlers(deps: WatchChangesDeps): Pick<StreamHandlers<typeof KeyService>, "watchRevocations"> {
  return {
    watchRevocations: async function* ({ cursor }, { signal }) {
      for await (const step of watchChanges(deps, { cursor, signal })) yield message(step);
    },
  };
}

function message(step: WatchMessage): MessageInitShape<typeof WatchRevocationsResponseSchema> {
  return {
    cursor: step.cursor,
    changes: step.changes.map(({ kind, subjectId, changedAtMs, position }) => ({
      kind: KINDS[kind],
      subjectId,
      changeTime: toTimestamp(changedAtMs),
      position,
    })),
    resync: step.resync,
    ...(step.cursor !== "" && { asOfTime: toTimestamp(step.asOfMs) }),
    position: step.position,
  };
}
