import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ChangeKind } from "../../changes/change.ts";
import type { DatabaseClock } from "../../changes/database-clock.ts";
import { type WatchChangesDeps, type WatchMessage, watchChanges } from "../../changes/watch-changes.ts";
import { Change_Kind as KindMessage } from "../../gen/latchkey/v1/change_pb.ts";
import type { KeyService, WatchRevocationsResponseSchema } from "../../gen/latchkey/v1/key_service_pb.ts";
import type { StreamHandlers } from "../routes.ts";
import { optionalTimestamp, toSignedDuration, toTimestamp } from "./times.ts";

const KINDS: Readonly<Record<ChangeKind, KindMessage>> = {
  KEY: KindMessage.KEY,
  OWNER: KindMessage.OWNER,
  SESSION: KindMessage.SESSION,
  SERVICE_CREDENTIAL: KindMessage.SERVICE_CREDENTIAL,
  SIGNING_KEY: KindMessage.SIGNING_KEY,
};

export interface WatchHandlersDeps extends WatchChangesDeps {
  readonly databaseClock: Pick<DatabaseClock, "knownMs">;
}

/** The stream that tells clients which of their cached verdicts no longer hold. */
export function watchHandlers(deps: WatchHandlersDeps): Pick<StreamHandlers<typeof KeyService>, "watchRevocations"> {
  return {
    watchRevocations: async function* ({ cursor }, { signal }) {
      for await (const step of watchChanges(deps, { cursor, signal })) {
        yield message(step, deps.databaseClock.knownMs());
      }
    },
  };
}

function message(
  step: WatchMessage,
  serveMs: number | undefined,
): MessageInitShape<typeof WatchRevocationsResponseSchema> {
  return {
    cursor: step.cursor,
    changes: step.changes.map(({ kind, subjectId, changedAtMs, position }) => ({
      kind: KINDS[kind],
      subjectId,
      changeTime: toTimestamp(changedAtMs),
      position,
    })),
    resync: step.resync,
    ...(step.cursor !== "" && {
      asOfTime: toTimestamp(step.asOfMs),
      asOfElapsed: toSignedDuration(step.asOfElapsedMs),
    }),
    position: step.position,
    serveTime: optionalTimestamp(serveMs),
    epoch: step.epoch,
  };
}
