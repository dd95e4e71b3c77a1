import type { FieldMask } from "@bufbuild/protobuf/wkt";
import { invalidField } from "../lib/errors.ts";

/**
 * Which fields an update changes (AIP-134). Without a mask nothing is meant by default: a client that forgot it would
 * empty every field that it does not know.
 *
 * @param writable paths that may occur, snake_case
 * @throws INVALID_FIELD update_mask if it is absent, empty, or names an unknown or output-only path
 */
export function maskPaths<P extends string>(mask: FieldMask | undefined, writable: readonly P[]): ReadonlySet<P> {
  const paths = mask?.paths ?? [];
  if (paths.length === 0) {
    throw invalidField("update_mask", `must name at least one of ${writable.join(", ")}`);
  }
  for (const path of paths) {
    if (!(writable as readonly string[]).includes(path)) {
      throw invalidField("update_mask", `may name only ${writable.join(", ")}`);
    }
  }
  return new Set(paths as P[]);
}
