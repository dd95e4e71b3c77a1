/** Random messages of any type, and random faults in their bytes, from a seed. */
import { create, type DescField, type DescMessage, type Message, ScalarType, toJsonString } from "@bufbuild/protobuf";
import type { SeededRandom } from "../simulation/random.ts";

/** Texts that break careless code. */
export const NASTY = [
  "",
  "\0",
  "a\r\nb",
  "\u202e",
  "💣".repeat(70),
  "x".repeat(5000),
  "' or 1=1 --",
  "../..",
  "__proto__",
  "*",
];

/** A message with random fields, at most five levels deep. Its texts come from `words`. */
export function randomMessage(random: SeededRandom, desc: DescMessage, words: readonly string[], depth = 0) {
  const fields = desc.fields.filter(() => random.chance(0.6));
  const values = fields.map((field) => [field.localName, randomField(random, field, words, depth)] as const);
  // The last field of a oneof wins.
  const message: Record<string, unknown> = {};
  for (const [n, [name, value]] of values.entries()) {
    if (value === undefined) continue;
    const { oneof } = fields[n]!;
    if (oneof === undefined) message[name] = value;
    else message[oneof.localName] = { case: name, value };
  }
  return create(desc, message as never);
}

function randomField(random: SeededRandom, field: DescField, words: readonly string[], depth: number): unknown {
  const one = () => randomValue(random, field, words, depth);
  switch (field.fieldKind) {
    case "list":
      return Array.from({ length: random.whole(0, 3) }, one).filter((value) => value !== undefined);
    case "map":
      return { [random.pick(words)]: random.pick(words) };
    default:
      return one();
  }
}

function randomValue(random: SeededRandom, field: DescField, words: readonly string[], depth: number): unknown {
  // protobuf-es has the value itself where a field is a wrapper.
  if (field.message?.typeName === "google.protobuf.UInt64Value") {
    return randomValue(random, field.message.field.value!, words, depth);
  }
  if (field.message !== undefined)
    return depth > 3 ? undefined : randomMessage(random, field.message, words, depth + 1);
  if (field.enum !== undefined) return random.whole(-1, 20);
  switch (field.scalar) {
    case ScalarType.STRING:
      return random.pick(words);
    case ScalarType.BYTES:
      return randomBytes(random, 30);
    case ScalarType.BOOL:
      return random.chance(0.5);
    case ScalarType.INT64:
      return BigInt(random.pick([0, -1, 1, 1_800_000_000, 253_402_300_799, Number.MAX_SAFE_INTEGER]));
    case ScalarType.UINT64:
      return random.pick([0n, 1n, 250n, 2n ** 64n - 1n]);
    case ScalarType.UINT32:
      return random.pick([0, 1, 250, 2 ** 32 - 1]);
    default:
      return random.pick([0, 1, -1, 250, 2 ** 31 - 1, -(2 ** 31)]);
  }
}

/** The message as JSON. A message that JSON can't express, such as a time out of range, becomes invalid JSON. */
export function jsonOf(desc: DescMessage, message: Message): string {
  try {
    return toJsonString(desc, message);
  } catch {
    return "{";
  }
}

/** A random mutation: the same bytes, or some changed, cut off, inserted or repeated, or all replaced. */
export function mutated(random: SeededRandom, bytes: Uint8Array): Buffer {
  const copy = Buffer.from(bytes);
  const at = random.whole(0, Math.max(0, copy.length - 1));
  switch (random.whole(0, 5)) {
    case 0:
      return copy;
    case 1:
      for (let n = random.whole(1, 4); n > 0 && copy.length > 0; n--) {
        copy[random.whole(0, copy.length - 1)] = random.whole(0, 255);
      }
      return copy;
    case 2:
      return copy.subarray(0, at);
    case 3:
      return Buffer.concat([copy.subarray(0, at), randomBytes(random, 8), copy.subarray(at)]);
    case 4:
      return Buffer.concat([copy, copy.subarray(at)]);
    default:
      return randomBytes(random, 200);
  }
}

export function randomBytes(random: SeededRandom, most: number): Buffer {
  return Buffer.from(Array.from({ length: random.whole(0, most) }, () => random.whole(0, 255)));
}
