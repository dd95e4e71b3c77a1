import { mutantsOf } from "./tested-mutant.ts";

/** What is read of the database, and from which server. */
export const READS_MUTANTS = [
  ...mutantsOf(
    "src/postgres/database.ts",
    ["test/contract/read-and-write.test.ts", "test/postgres/standby.test.ts"],
    [
      {
        name: "a read believes a standby",
        search: "    refuseStandby(found);\n    return found",
        replacement: "    return found",
        why: "Logout on a standby answers OK and ends nothing, Refresh says UNAUTHENTICATED",
      },
      {
        name: "a hot read believes a standby",
        search: "      refuseStandby(found);\n      return {",
        replacement: "      return {",
        why: "a key that a standby has not heard of yet is INVALID",
      },
      {
        name: "a transaction believes a standby",
        search: "    refuseStandby(rows);\n",
        replacement: "",
        why: "GetKey on a standby is NOT_FOUND, or shows a key as it was",
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
