import { Freshness_Source as Source } from "../../gen/latchkey/v1/key_service_pb.ts";
import type { Freshness } from "../../keys/verdict.ts";
import { MessageWriter, writeDuration, writeTimestamp } from "../../lib/message-writer.ts";

/**
 * Encoder of the Freshness of verdicts. It keeps the last message, because most answers of one millisecond have the
 * same: their records are all true as of the feed's last poll.
 */
export class FreshnessEncoder {
  readonly #writer = new MessageWriter();
  #last: Freshness | undefined;
  #lastServeMs: number | undefined;
  #lastAgeMs = 0;
  #lastBytes: Uint8Array = new Uint8Array();

  /**
   * The encoded message. Later calls may return the same bytes.
   *
   * @param serveMs the database's time now; undefined = not known
   * @param ageMs how long ago the record was true
   */
  encode(freshness: Freshness, serveMs: number | undefined, ageMs: number): Uint8Array {
    // Both are written in whole milliseconds.
    const serveWholeMs = serveMs === undefined ? undefined : Math.floor(serveMs);
    const ageWholeMs = Math.ceil(ageMs);
    const isSame = ageWholeMs === this.#lastAgeMs && serveWholeMs === this.#lastServeMs && this.#isLast(freshness);
    if (isSame) return this.#lastBytes;
    this.#lastBytes = this.#write(freshness, serveWholeMs, ageWholeMs);
    this.#last = freshness;
    this.#lastServeMs = serveWholeMs;
    this.#lastAgeMs = ageWholeMs;
    return this.#lastBytes;
  }

  #isLast({ source, asOfMs, maxStalenessMs, position, epoch }: Freshness): boolean {
    const last = this.#last;
    return (
      last !== undefined &&
      last.asOfMs === asOfMs &&
      last.source === source &&
      last.maxStalenessMs === maxStalenessMs &&
      last.position === position &&
      last.epoch === epoch
    );
  }

  #write(freshness: Freshness, serveMs: number | undefined, ageMs: number): Uint8Array {
    const writer = this.#writer;
    writer.begin();
    writer.int32(1, freshness.source === "cache" ? Source.CACHE : Source.DATABASE);
    writer.message(2, freshness.asOfMs, writeTimestamp);
    writer.message(3, freshness.maxStalenessMs, writeDuration);
    writer.int64(4, freshness.position);
    writer.message(5, serveMs, writeTimestamp);
    writer.fixed64(6, freshness.epoch);
    writer.message(7, ageMs, writeDuration);
    return writer.finish();
  }
}
