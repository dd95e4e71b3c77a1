import { mutantsOf } from "./tested-mutant.ts";

const TURNS = ["test/postgres/management-turns.test.ts"];

/** Faults in the order in which callers get a connection of management, or a lock of the process. */
export const TURNS_MUTANTS = [
  ...mutantsOf("src/postgres/connections/management-turns.ts", TURNS, [
    {
      name: "one caller on all connections",
      search: 'Math.min(widest === "itself" ? MOST_OF_ONE : ofOne, Math.max(1, connections - 1))',
      replacement: "connections",
      why: "a user who issues keys without a rest keeps all others waiting",
    },
    {
      name: "four of one caller while others ask",
      search: "mostPlacesShared: mostPlaces(MOST_OF_ONE_SHARED)",
      replacement: "mostPlacesShared: mostPlaces(MOST_OF_ONE)",
      why: "a user who issues keys without a rest keeps two cores busy, and others' calls are slow",
    },
    {
      name: "the service's own work taken for a caller",
      search: 'if (kind !== "itself") {',
      replacement: "if (kind !== undefined) {",
      why: "a caller that is alone has half of its connections",
    },
    {
      name: "strangers on all connections",
      search: "Math.max(1, Math.floor(connections * ANONYMOUS_PART))",
      replacement: "connections",
      why: "made-up tokens keep people who are logged in waiting",
    },
    {
      name: "an overload told as an outage",
      search: "if (this.#answers === answers) fail",
      replacement: "fail",
      why: "operators are paged for a database that is well",
    },
    {
      name: "calls refused in their midst",
      search: "this.#shares.enter(holder, guest, isUnderWay)",
      replacement: "this.#shares.enter(holder, guest)",
      why: "a login is refused after its hash, and the failure stays counted",
    },
    {
      name: "locks waited for on a connection",
      search: "if (locks.length > 0) await visit",
      replacement: "if (locks.length < 0) await visit",
      why: "one row's lock takes as many connections as there are calls for it",
    },
  ]),
  ...mutantsOf(
    "src/shares/named-locks.ts",
    ["test/shares/named-locks.test.ts"],
    [
      {
        name: "everyone inside at once",
        search: "      if (visitors.oldest !== step) return;\n",
        replacement: "",
        why: "what was to pass one after the other waits in the database",
      },
      {
        name: "names taken as they are given",
        search: "[...new Set(names)].sort()",
        replacement: "[...new Set(names)]",
        why: "two wait for each other until their calls end",
      },
    ],
  ),
];
