import type { PagePosition } from "../../lib/page.ts";

/*
 * The order of lists: newest first, by (created_at, id). Times are whole milliseconds in both JavaScript and the
 * database, so a page begins exactly where the page before it ended.
 */

/**
 * The condition, for the ORM, that a row comes after this position in the order (created_at desc, id desc). The first
 * part follows from the others. It lets PostgreSQL begin at the position in an index instead of at its end.
 */
export function isAfter({ createdAtMs, id }: PagePosition) {
  const createdAt = new Date(createdAtMs);
  return { createdAt: { $lte: createdAt }, $or: [{ createdAt: { $lt: createdAt } }, { id: { $lt: id } }] };
}
