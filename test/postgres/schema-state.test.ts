/** Which schemas of later versions this code runs beside. */
import { expect, it } from "vitest";
import { schemaState } from "../../src/postgres/migrations/schema-state.ts";

const OWN = ["0016-some", "0018-others", "0020-newest"];

it.each<[later: string, isTooNew: boolean]>([
  ["0021-add-note", false],
  ["0021-drop-note-needs-0018", false],
  ["0021-drop-note-needs-0020", false],
  ["0022-drop-note-needs-0021", true],
  // A version knows no migration by its number alone: 0017 and 0019 came with another release.
  ["0021-drop-note-needs-0017", true],
  ["0021-drop-note-needs-0019", true],
])("the later migration %s is too new: %s", (later, isTooNew) => {
  const applied = [...OWN, later].map((name) => ({ name, appliedAtMs: 0 }));
  expect(schemaState(applied, OWN)).toMatchObject({ later: [later], tooNew: isTooNew ? later : undefined });
});

it("code needs each migration that it lacks, except for optional ones", () => {
  expect(schemaState([], OWN, ["0018-others"])).toMatchObject({ pending: OWN, required: ["0016-some", "0020-newest"] });
});
