/** A page of a list whose order is newest first, by (time of creation, id). */
export interface Page<R> {
  readonly items: readonly R[];
  /** Where the next page begins; undefined on the last page. */
  readonly next: PagePosition | undefined;
}

/** A position in a list: the page begins after this record. */
export interface PagePosition {
  readonly createdAtMs: number;
  readonly id: string;
}

/**
 * Makes a page of at most `size` records.
 *
 * @param found the first `size + 1` records from where the page begins; the last one only tells that there is more
 */
export function pageOf<R extends PagePosition>(found: readonly R[], size: number): Page<R> {
  return pageAt(found, size, (record) => record);
}

/** Like `pageOf`, for records without a position of their own: `positionOf` returns it. */
export function pageAt<R>(found: readonly R[], size: number, positionOf: (record: R) => PagePosition): Page<R> {
  const items = found.slice(0, size);
  const last = items.at(-1);
  if (found.length <= size || last === undefined) return { items, next: undefined };
  const { createdAtMs, id } = positionOf(last);
  return { items, next: { createdAtMs, id } };
}
