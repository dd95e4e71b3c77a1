import type { DescField, DescMessage } from "@bufbuild/protobuf";

/**
 * The fields along a path such as `key.id`, each name as in the contract or as in JSON; undefined if there is no such
 * path. A path ends at a scalar, an enum, a list or a message, and goes on only through messages that are not repeated.
 * A message that JSON writes as one text, such as a time, has no path into it.
 */
export function fieldsOfPath(message: DescMessage, path: string): readonly DescField[] | undefined {
  const fields: DescField[] = [];
  let desc: DescMessage | undefined = message;
  for (const name of path.split(".", MAX_DEPTH + 1)) {
    const field: DescField | undefined = desc?.fields.find((one) => one.name === name || one.jsonName === name);
    if (field === undefined || fields.length === MAX_DEPTH) return undefined;
    fields.push(field);
    desc = field.fieldKind === "message" && !isWellKnown(field.message) ? field.message : undefined;
  }
  return fields;
}

/** The contract's messages are at most four deep. A message that contains itself would have no end. */
const MAX_DEPTH = 8;

function isWellKnown({ typeName }: DescMessage): boolean {
  return typeName.startsWith("google.protobuf.");
}

/** The path in the contract's names, such as `key.id`. */
export function pathOfFields(fields: readonly DescField[]): string {
  return fields.map(({ name }) => name).join(".");
}
