import { type DescMessage, isFieldSet, type MessageShape } from "@bufbuild/protobuf";
import type { FieldMask } from "@bufbuild/protobuf/wkt";
import { invalidField } from "../../lib/errors.ts";

/**
 * The fields that an update changes (AIP-134): those that the mask names. Without a mask they are the writable fields
 * that have a value in the resource, so a client that forgot the mask clears nothing. `*` is refused, because it would
 * clear fields that the client does not know.
 *
 * @param writable the allowed paths: names of fields of the resource, in snake_case
 * @throws INVALID_FIELD update_mask for an unknown or output-only path, or if the update would change nothing
 */
export function maskPaths<D extends DescMessage, P extends string>(
  mask: FieldMask | undefined,
  writable: readonly P[],
  schema: D,
  resource: MessageShape<D> | undefined,
): ReadonlySet<P> {
  const named = mask?.paths ?? [];
  const paths = named.length > 0 ? named : writable.filter((path) => isPopulated(schema, resource, path));
  if (paths.length === 0) {
    throw invalidField(
      "update_mask",
      `must name at least one of ${writable.join(", ")}, or one of them must have a value`,
    );
  }
  for (const path of paths) {
    if (!(writable as readonly string[]).includes(path)) {
      throw invalidField("update_mask", `may name only ${writable.join(", ")}`);
    }
  }
  return new Set(paths as P[]);
}

function isPopulated<D extends DescMessage>(schema: D, resource: MessageShape<D> | undefined, path: string): boolean {
  const field = schema.fields.find(({ name }) => name === path)!;
  return resource !== undefined && isFieldSet(resource, field);
}
