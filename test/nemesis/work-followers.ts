/** Clients of WatchRevocations. When a stream ends, its client continues with its last cursor at another process. */
import { setTimeout as pause } from "node:timers/promises";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { Change_KindSchema } from "../../src/gen/latchkey/v1/change_pb.ts";
import type { WatchRevocationsResponse } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import type { Cast } from "./cast.ts";
import { type Follower, nowMs, type WatchMessage } from "./history.ts";

/** A client gives up a stream that is quiet for longer. Each process sends a message every second. */
const MOST_QUIET_MS = 4000;
/** Maximum duration of a stream: after it a follower changes the process by itself. */
const MOST_STREAM_MS = 15_000;

export async function follow(cast: Cast, name: string, followers: Follower[], stop: AbortSignal): Promise<void> {
  const follower: Follower = { name, messages: [] };
  followers.push(follower);
  let cursor = "";
  let stream = 0;
  while (!stop.aborted) {
    const { process, verifier } = cast.random.pick(cast.clients);
    const silence = new AbortController();
    stream++;
    let quiet = setTimeout(() => silence.abort(), MOST_QUIET_MS);
    const signal = AbortSignal.any([stop, silence.signal, AbortSignal.timeout(MOST_STREAM_MS)]);
    try {
      for await (const message of verifier.watchRevocations({ cursor }, { signal })) {
        clearTimeout(quiet);
        quiet = setTimeout(() => silence.abort(), MOST_QUIET_MS);
        follower.messages.push(recordOf(process, stream, message));
        if (message.cursor !== "") cursor = message.cursor;
      }
    } catch {
      await pause(100);
    } finally {
      clearTimeout(quiet);
    }
  }
}

function recordOf(process: number, stream: number, message: WatchRevocationsResponse): WatchMessage {
  return {
    stream,
    process,
    receivedMs: nowMs(),
    resync: message.resync,
    changes: message.changes.map(({ kind, subjectId }) => `${Change_KindSchema.value[kind]?.localName} ${subjectId}`),
    asOfMs: message.cursor === "" || message.asOfTime === undefined ? undefined : timestampMs(message.asOfTime),
  };
}
