import type { Writable } from "node:stream";
import { systemClock } from "../../lib/clock.ts";

/** How long a client may leave an answer, or a part of a stream, unread. */
const MAX_UNREAD_MS = 30_000;
/** The same while all clients together leave more unread than this, which stays in memory. */
const MAX_UNREAD_BYTES = 64 * 1024 * 1024;
const MAX_UNREAD_MS_WHEN_MUCH = 1000;
/** Each answer counts for at least this: its stream, headers and listeners stay with it. */
const LEAST_BYTES = 32 * 1024;

interface Unread {
  readonly bytes: number;
  readonly sinceMs: number;
  cut(): void;
}

/** All answers of this process that wait for their reader, the oldest first. */
const unread = new Set<Unread>();
let unreadBytes = 0;
let nextTrim: NodeJS.Timeout | undefined;

/**
 * Cuts off a client that does not read what was written to it: within 30 s, or within a second while too much is unread.
 * To be called after the write.
 *
 * @param event what says that it was read
 * @param cut   ends the exchange; `close` follows
 */
export function cutUnlessRead(sink: Writable, event: "drain" | "close", cut: () => void): void {
  if (sink.writableLength === 0 || sink.destroyed) return;
  const answer: Unread = {
    bytes: Math.max(sink.writableLength, LEAST_BYTES),
    sinceMs: systemClock.monotonicMs(),
    cut: () => {
      stop();
      cut();
    },
  };
  const timer = setTimeout(answer.cut, MAX_UNREAD_MS).unref();
  const stop = () => {
    clearTimeout(timer);
    sink.off(event, stop);
    sink.off("close", stop);
    if (unread.delete(answer)) unreadBytes -= answer.bytes;
  };
  sink.on(event, stop);
  sink.on("close", stop);
  unread.add(answer);
  unreadBytes += answer.bytes;
  if (nextTrim === undefined) trim();
}

function trim(): void {
  nextTrim = undefined;
  for (const oldest of unread) {
    if (unreadBytes <= MAX_UNREAD_BYTES) return;
    const leftMs = oldest.sinceMs + MAX_UNREAD_MS_WHEN_MUCH - systemClock.monotonicMs();
    if (leftMs > 0) {
      nextTrim = setTimeout(trim, leftMs).unref();
      return;
    }
    oldest.cut();
  }
}
