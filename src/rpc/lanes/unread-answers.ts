import type { Writable } from "node:stream";
import { systemClock } from "../../lib/clock.ts";
import { type Listed, OldestFirst } from "../../lib/oldest-first.ts";

/** Maximum time for which a client may leave a long answer, or a part of a stream, unread. */
const MAX_UNREAD_MS = 30_000;
/** Above this size in total the time is shorter, because unread bytes stay in memory. */
const MAX_UNREAD_BYTES = 64 * 1024 * 1024;
const MAX_UNREAD_MS_WHEN_FULL = 1000;
/** Minimum size that an answer counts for, because its stream, headers and listeners stay in memory with it. */
const MIN_BYTES = 32 * 1024;

/** Maximum answers of the unary lane that are written and whose HTTP/2 streams are still open. */
const MAX_OPEN = 10_000;
/**
 * Maximum time for which a stream may stay open while there are more than MAX_OPEN. A client that reads closes its
 * stream in a turn or two.
 */
const MAX_OPEN_MS_WHEN_FULL = 250;

/** An answer that the unary lane has written to an HTTP/2 stream. */
export interface SentAnswer extends Listed {
  /** Its number in the order in which answers were sent. */
  sentNo: number;
  readonly connection: object;
  /** Closes the connection. */
  cutConnection(): void;
}

/** A long answer that waits for its reader. */
interface LongAnswer {
  readonly bytes: number;
  readonly sinceMs: number;
  cut(): void;
}

/**
 * The answers of this server that no client has read yet. It bounds the memory that they hold, because their calls no
 * longer count against CallCapacity. Long ones are bounded by their bytes and time, and all of the unary lane also by
 * their number.
 */
export class UnreadAnswers {
  /** The oldest first. */
  readonly #long = new Set<LongAnswer>();
  #longBytes = 0;
  #nextTrim: NodeJS.Timeout | undefined;
  readonly #short = new OldestFirst<SentAnswer>();
  #lastSentNo = 0;
  #trimmingShort: NodeJS.Timeout | undefined;
  /** Number of clients since the start that were cut off because they did not read. */
  cut = 0;

  /**
   * Cuts off a client that does not read a long answer within 30 s, or within 1 s while more than 64 MiB are unread.
   * Call it after the write.
   *
   * @param event the event of `sink` that follows when the client has read
   * @param cut   ends the exchange; `close` follows
   */
  cutUnlessRead(sink: Writable, event: "drain" | "close", cut: () => void): void {
    if (sink.writableLength === 0 || sink.destroyed) return;
    const answer: LongAnswer = {
      bytes: Math.max(sink.writableLength, MIN_BYTES),
      sinceMs: systemClock.monotonicMs(),
      cut: () => {
        this.cut++;
        stop();
        cut();
      },
    };
    const timer = setTimeout(answer.cut, MAX_UNREAD_MS).unref();
    const stop = () => {
      clearTimeout(timer);
      sink.off(event, stop);
      sink.off("close", stop);
      if (this.#long.delete(answer)) this.#longBytes -= answer.bytes;
    };
    sink.on(event, stop);
    sink.on("close", stop);
    this.#long.add(answer);
    this.#longBytes += answer.bytes;
    if (this.#nextTrim === undefined) this.#trimLong();
  }

  /**
   * Counts an answer of the unary lane. Its stream is open until the client has read it. If there are more than
   * MAX_OPEN answers, connections are cut, the one with the most answers first. Answers are not cut one by one, because
   * a client that leaves them open on purpose has too many.
   */
  add(answer: SentAnswer): void {
    answer.sentNo = ++this.#lastSentNo;
    this.#short.add(answer);
    if (this.#short.size > MAX_OPEN && this.#trimmingShort === undefined) this.#trimShortLater();
  }

  /** Notes that the stream of an answer has closed. Has no effect on an answer that was not added. */
  delete(answer: SentAnswer): void {
    this.#short.delete(answer);
  }

  #trimLong(): void {
    this.#nextTrim = undefined;
    for (const oldest of this.#long) {
      if (this.#longBytes <= MAX_UNREAD_BYTES) return;
      const leftMs = oldest.sinceMs + MAX_UNREAD_MS_WHEN_FULL - systemClock.monotonicMs();
      if (leftMs > 0) {
        this.#nextTrim = setTimeout(() => this.#trimLong(), leftMs).unref();
        return;
      }
      oldest.cut();
    }
  }

  #trimShortLater(): void {
    const lastSentNo = this.#lastSentNo;
    this.#trimmingShort = setTimeout(() => {
      this.#trimmingShort = undefined;
      for (const answers of this.#shortByConnection()) {
        if (this.#short.size <= MAX_OPEN) break;
        // A client whose oldest answer was sent after this wait began may still read it.
        if (answers[0]!.sentNo > lastSentNo) continue;
        for (const answer of answers) this.#short.delete(answer);
        this.cut++;
        answers[0]!.cutConnection();
      }
      if (this.#short.size > MAX_OPEN) this.#trimShortLater();
    }, MAX_OPEN_MS_WHEN_FULL).unref();
  }

  /** The short answers of each connection, its oldest first; the connection with the most of them first. */
  #shortByConnection(): SentAnswer[][] {
    const groups = new Map<object, SentAnswer[]>();
    for (let answer = this.#short.oldest; answer !== undefined; answer = answer.newer as SentAnswer | undefined) {
      const group = groups.get(answer.connection);
      if (group === undefined) groups.set(answer.connection, [answer]);
      else group.push(answer);
    }
    return [...groups.values()].sort((a, b) => b.length - a.length);
  }
}
