import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import type { AuditEvent } from "../audit/audit-event.ts";
import type { Delivery, Destination } from "../audit/export/exporter.ts";
import { writeLines } from "./written-lines.ts";

const { O_RDWR, O_APPEND, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = constants;
const FILE_MODE = 0o600;
const NEWLINE = 10;

/**
 * A file that grows by a line for each event. It is opened for each delivery, so that a rotation by rename needs no
 * signal. Lines are on the disk (fsync) before they count as delivered. A new file has mode 0600.
 */
export class LineFile implements Destination {
  readonly name = "lines";
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  deliver(events: readonly AuditEvent[]): Promise<Delivery> {
    return writeLines(events, async (lines) => {
      // Non-blocking, because opening a pipe without a reader would never end.
      const file = await open(this.#path, O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK, FILE_MODE);
      try {
        await append(file, lines);
      } finally {
        await file.close();
      }
    });
  }

  close(): void {}
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
