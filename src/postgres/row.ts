/**
 * A row of a plain statement. Times are selected as milliseconds (see `ms`), so that both drivers return the same
 * types.
 */
export type Row = Record<string, unknown>;

/** SQL that turns a timestamp into milliseconds since the epoch, the same type on both drivers. */
export function ms(expression: string): string {
  return `(extract(epoch from ${expression}) * 1000)::float8`;
}

/** The value of a column of milliseconds; null becomes undefined. */
export function msOf(value: unknown): number | undefined {
  return value === null || value === undefined ? undefined : Math.round(value as number);
}

/** bytea is a Buffer on one driver and a Uint8Array on the other. */
export function bytesOf(value: unknown): Buffer {
  const bytes = value as Uint8Array;
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** The literal of a text[]: each element in quotes, so that nothing in it is syntax, and `null` is a text. */
export function arrayLiteral(elements: Iterable<string>): string {
  return `{${Array.from(elements, (element) => `"${element.replace(/["\\]/g, "\\$&")}"`).join(",")}}`;
}
