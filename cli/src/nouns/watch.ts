import { Code, ConnectError } from "@connectrpc/connect";
import { type Change, Change_Kind, ChangeSchema, type WatchRevocationsResponse } from "@latchkey/client/contract";
import type { Invocation } from "../invocation.ts";
import { Outage } from "../outage.ts";
import { type Head, type Item, jsonOf } from "../result.ts";
import type { Style } from "../styles.ts";
import { clockText } from "../times.ts";
import { verb } from "../verb.ts";

/** The service sends a message each second. A stream without one for this time is replaced. */
const SILENT_MS = 15_000;
const HEAD: readonly Head[] = [
  { name: "TIME", role: "id" },
  { name: "WHAT", role: "id" },
  { name: "ID", role: "id" },
];
const WHAT: Readonly<Record<Change_Kind, readonly [what: string, style: Style]>> = {
  [Change_Kind.UNSPECIFIED]: ["something changed", "paused"],
  [Change_Kind.KEY]: ["key changed", "good"],
  [Change_Kind.OWNER]: ["person changed", "good"],
  [Change_Kind.SESSION]: ["session ended", "paused"],
  [Change_Kind.SERVICE_CREDENTIAL]: ["service changed", "good"],
  [Change_Kind.SIGNING_KEY]: ["signing key changed", "paused"],
};
const WHAT_WIDTH = Math.max(...Object.values(WHAT).map(([what]) => what.length));

export const watch = verb({
  name: "watch",
  about: "Show changes as they come, until ctrl-c",
  more:
    "It tells of keys, people, sessions and credentials, and begins with the sessions that ended lately. Times are " +
    "UTC. After a broken stream it goes on from the same place; where changes may have been missed, it says so. It " +
    "needs a credential with the scope verify.",
  examples: ["watch", "watch --jsonl | jq -r .subjectId"],
  flags: {},
  run: async (invocation) => ({ kind: "stream", head: HEAD, items: items(invocation) }),
});

async function* items(invocation: Invocation): AsyncGenerator<Item> {
  const { progress, io } = invocation;
  const isTerminal = io.stdout.isTTY === true;
  let count = 0;
  for await (const { changes, resync } of messages(invocation)) {
    if (resync) yield missed();
    for (const change of changes) yield itemOf(change, isTerminal);
    count += changes.length;
    progress.tell(`up to date, ${count} ${count === 1 ? "change" : "changes"} so far`);
  }
}

/** The messages of one stream after another, each from the cursor at which the one before it ended. */
async function* messages(invocation: Invocation): AsyncGenerator<WatchRevocationsResponse> {
  const outage = new Outage(invocation);
  let cursor = "";
  let epoch: bigint | undefined;
  for (;;) {
    try {
      for await (const message of stream(invocation, cursor)) {
        outage.over();
        const isOtherEpoch = epoch !== undefined && epoch !== message.epoch;
        yield isOtherEpoch ? { ...message, resync: true } : message;
        epoch = message.epoch;
        // One set of changes may come in several messages, and only the last one has a cursor.
        if (message.cursor !== "") cursor = message.cursor;
      }
      throw new ConnectError("the service ended the stream of changes", Code.Unavailable);
    } catch (error) {
      if (cursor !== "" && error instanceof ConnectError && error.code === Code.InvalidArgument) {
        // The service no longer knows this place: the new stream begins with a resync.
        cursor = "";
        epoch = 0n;
      } else await outage.wait(error);
    }
  }
}

/** One stream, which ends with an error if it is silent. */
async function* stream({ keys, io }: Invocation, cursor: string): AsyncGenerator<WatchRevocationsResponse> {
  const silent = new AbortController();
  const signal = AbortSignal.any([io.signal, silent.signal]);
  const watchdog = setTimeout(() => silent.abort(), SILENT_MS);
  try {
    for await (const message of keys.watchRevocations({ cursor }, { signal })) {
      watchdog.refresh();
      yield message;
    }
  } finally {
    clearTimeout(watchdog);
  }
}

function itemOf(change: Change, isTerminal: boolean): Item {
  const [what, style] = WHAT[change.kind] ?? WHAT[Change_Kind.UNSPECIFIED];
  return {
    json: jsonOf(ChangeSchema, change),
    quiet: change.subjectId,
    cells: [clockText(change.changeTime, isTerminal), { text: what.padEnd(WHAT_WIDTH), style }, change.subjectId],
  };
}

/** Programs must drop what they keep, and people must look for themselves. */
function missed(): Item {
  const text = "changes may have been missed: check what you rely on";
  return { json: { resync: true }, quiet: "resync", cells: [{ text, style: "bad" }] };
}
