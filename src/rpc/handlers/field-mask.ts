import { type DescMessage, isFieldSet, type MessageShape } from "@bufbuild/protobuf";
import type { FieldMask } from "@bufbuild/protobuf/wkt";
import { invalidField } from "../../lib/errors.ts";

/**
 * Which fields an update changes (AIP-134): those that the mask names, or without one those that the resource has a value
 * for. So a client that forgot the mask empties nothing. `*` is not taken: it would empty what the client does not know.
 *
 * @param writable paths that may occur, snake_case, of fields of the resource
 * @throws INVALID_FIELD update_mask if it names an unknown or output-only path, or nothing would be changed
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
