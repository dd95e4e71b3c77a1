import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import type { AuditEvent } from "../audit/audit-event.ts";
import { type Delivery, type Destination, MOST_DELIVERY_MS } from "../audit/export/exporter.ts";
import { settleWithin } from "../lib/settle-within.ts";
import { writeLines } from "./written-lines.ts";

const { O_RDWR, O_APPEND, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = constants;
const FILE_MODE = 0o600;
const NEWLINE = 10;

/**
 * A file that grows by a line for each event. It is opened for each delivery, so that a rotation by rename needs no
 * signal. Lines are on the disk (fsync) before they count as delivered. A new file has mode 0600. While a write hangs,
 * as on a network file system, deliveries fail and no other write begins.
 */
export class LineFile implements Destination {
  readonly name = "lines";
  readonly #write: (lines: string) => Promise<void>;
  readonly #mostMs: number;
  #isWriting = false;

  /** Only tests set the options: another way to write, and the maximum time of a delivery. */
  constructor(path: string, { write = (lines) => appendTo(path, lines), mostMs = MOST_DELIVERY_MS }: Options = {}) {
    this.#write = write;
    this.#mostMs = mostMs;
  }

  async deliver(events: readonly AuditEvent[]): Promise<Delivery> {
    let delivery: Delivery = { delivered: new Set(), failed: new Map([[events[0]!.id, "the write hangs"]]) };
    if (this.#isWriting) return delivery;
    this.#isWriting = true;
    const written = writeLines(events, this.#write).then((outcome) => {
      this.#isWriting = false;
      delivery = outcome;
    });
    await settleWithin(this.#mostMs, written);
    return delivery;
  }

  close(): void {}
}

interface Options {
  readonly write?: (lines: string) => Promise<void>;
  readonly mostMs?: number;
}

async function appendTo(path: string, lines: string): Promise<void> {
  // Non-blocking, because opening a pipe without a reader would never end.
  const file = await open(path, O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK, FILE_MODE);
  try {
    await append(file, lines);
  } finally {
    await file.close();
  }
}

async function append(file: FileHandle, lines: string): Promise<void> {
  const stats = await file.stat();
  if (!stats.isFile()) throw Object.assign(new Error("not a regular file"), { code: "ENOTFILE" });
  const { buffer, bytesRead } = await file.read(Buffer.alloc(1), 0, 1, Math.max(0, stats.size - 1));
  // A full disk or a crash may have left a part of a line.
  const isTorn = bytesRead === 1 && buffer[0] !== NEWLINE;
  await file.appendFile(isTorn ? `\n${lines}` : lines);
  await file.datasync();
}
