import { mutantsOf } from "./tested-mutant.ts";

/** What is read of the database, and from which server. */
export const READS_MUTANTS = [
  ...mutantsOf(
    "src/postgres/conflicts.ts",
    ["test/contract/conflicts.test.ts", "test/postgres/standby.test.ts"],
    [
      {
        name: "a standby's refusal is a fault of ours",
        search: '  if (codeOf(error) === "0A000") return standby();\n',
        replacement: "",
        why: "callers are told INTERNAL for as long as DATABASE_URL reaches a standby",
      },
    ],
  ),
  ...mutantsOf(
    "src/postgres/primary.ts",
    ["test/contract/read-and-write.test.ts"],
    [
      {
        name: "rows of a read in reverse",
        search: "order by r.row_order",
        replacement: "order by r.row_order desc",
        why: "pages of a list overlap and leave rows out",
      },
    ],
  ),
];
