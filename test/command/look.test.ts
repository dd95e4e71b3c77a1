/** How tables, fields and lines look at a given width, as exact text. */
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { User_State, UserSchema } from "@latchkey/client/contract";
import { describe, expect, it } from "vitest";
import type { Cell, Head } from "../../cli/src/result.ts";
import { fieldsText, lineText, tableText } from "../../cli/src/table.ts";
import { userColumns, userFields } from "../../cli/src/user-view.ts";

const NOW_MS = Date.parse("2026-11-29T12:00:00Z");
const at = (columns: number | undefined) => ({ columns, hasColour: false });
const text = (...lines: readonly string[]) => lines.map((line) => `${line}\n`).join("");

const USERS = [
  { email: "ann@example.com", displayName: "Ann Lee", tier: "pro", state: User_State.ACTIVE, scopes: ["*"] },
  {
    email: "yamada@example.jp",
    displayName: "山田太郎 🦊",
    tier: "basic",
    state: User_State.DISABLED,
    scopes: ["orders:*"],
  },
  {
    email: `${"long.".repeat(20)}@example.com`,
    displayName: "\u001b[31mred",
    tier: "basic",
    state: User_State.ACTIVE,
    scopes: ["*"],
  },
].map((fields, n) =>
  create(UserSchema, { ...fields, id: `usr_AbCd1234AbCd123${n}`, createTime: timestampFromMs(NOW_MS - 7_200_000) }),
);
const HEAD = userColumns(NOW_MS);
const table = (columns: number | undefined) =>
  tableText({ head: HEAD, rows: USERS.map((user) => HEAD.map(({ cell }) => cell(user))) }, at(columns));

/** As the audit trail: what happened, an id that may be cut to 20, and details that are cut before they are left out. */
const TRAIL: readonly Head[] = [
  { name: "WHAT", role: "id" },
  { name: "SUBJECT", role: "text", least: 20 },
  { name: "FROM", role: "extra" },
  { name: "DETAILS", role: "extra", least: 20 },
];
const ROWS = [
  ["key.issued", "key_AbCd1234AbCd1234", "127.0.0.1", "tier=basic owner_id=usr_AbCd1234AbCd1234"],
  ["signing_key.created", "HO24pvEzXjDANTXtLxbnNceAayaXDYiMkCQyX_gXXyI", "-", ""],
];
const trail = (columns: number) => tableText({ head: TRAIL, rows: ROWS }, at(columns));

describe("a table of people", () => {
  it("keeps its columns straight where names have wide characters, and cuts the longest text", () => {
    expect(table(80)).toBe(
      text(
        "ID                    E-MAIL                      STATE     TIER   NAME",
        "usr_AbCd1234AbCd1230  ann@example.com             active    pro    Ann Lee",
        "usr_AbCd1234AbCd1231  yamada@example.jp           disabled  basic  山田太郎 🦊",
        "usr_AbCd1234AbCd1232  long.long.long.long.long.…  active    basic  \\u001b[31mred",
      ),
    );
  });

  it("has everything in a pipe", () => {
    expect(table(undefined).split("\n")[2]).toMatch(
      /^usr_AbCd1234AbCd1231 {2}yamada@example\.jp +disabled {2}basic {2}山田太郎 🦊 +2 hours ago {2}orders:\*$/,
    );
    expect(table(undefined)).toContain(`${"long.".repeat(20)}@example.com`);
  });
});

describe("a table with cells of which some matter less", () => {
  it("cuts the details first, then leaves them out, and cuts no usual id", () => {
    expect(trail(110)).toBe(
      text(
        "WHAT                 SUBJECT                                      FROM       DETAILS",
        "key.issued           key_AbCd1234AbCd1234                         127.0.0.1  tier=basic owner_id=usr_AbCd1234…",
        "signing_key.created  HO24pvEzXjDANTXtLxbnNceAayaXDYiMkCQyX_gXXyI  -",
      ),
    );
    expect(trail(60)).toBe(
      text(
        "WHAT                 SUBJECT                       FROM",
        "key.issued           key_AbCd1234AbCd1234          127.0.0.1",
        "signing_key.created  HO24pvEzXjDANTXtLxbnNceAaya…  -",
      ),
    );
    expect(trail(41)).toBe(
      text(
        "WHAT                 SUBJECT",
        "key.issued           key_AbCd1234AbCd1234",
        "signing_key.created  HO24pvEzXjDANTXtLxb…",
      ),
    );
  });

  it("is a block of lines for each row where not even that fits", () => {
    expect(trail(40).split("\n\n")[1]).toBe(
      text("What     signing_key.created", "Subject  HO24pvEzXjDANTXtLxbnNceAayaXDYiMkCQyX_gXXyI", "From     -"),
    );
  });
});

describe("fields", () => {
  const user = create(UserSchema, { ...USERS[1]!, scopes: Array.from({ length: 6 }, (_, n) => `service-${n}:read`) });

  it("stand in two columns, and a long value goes on below at a blank", () => {
    expect(fieldsText(userFields(user, NOW_MS), at(60))).toBe(
      text(
        "id       usr_AbCd1234AbCd1231",
        "e-mail   yamada@example.jp",
        "name     山田太郎 🦊",
        "state    disabled",
        "tier     basic",
        "scopes   service-0:read service-1:read service-2:read",
        "         service-3:read service-4:read service-5:read",
        "created  2026-11-29 10:00:00 UTC (2 hours ago)",
      ),
    );
  });

  it("stand below their labels on a terminal of 20 columns, so that an id is one line", () => {
    expect(fieldsText(userFields(USERS[0]!, NOW_MS), at(20))).toBe(
      text(
        ...["id:", "usr_AbCd1234AbCd1230", "e-mail:", "ann@example.com", "name: Ann Lee", "state: active", "tier: pro"],
        ...["scopes: *", "created:", "2026-11-29 10:00:00 UTC (2 hours ago)"],
      ),
    );
  });

  it("are one line each in a pipe", () => {
    expect(fieldsText(userFields(user, NOW_MS), at(undefined))).toMatch(/^scopes {3}service-0:read .*service-5:read$/m);
  });
});

describe("a line of a stream", () => {
  const cells: readonly Cell[] = ["12:00:00", "key_AbCd1234AbCd1234", "", "127.0.0.1", "tier=basic"];
  const head = (["id", "text", "extra", "extra", "extra"] as const).map((role) => ({ name: "X", role }));

  it("leaves out what matters less, the last first, and has no gap for an empty cell", () => {
    expect(lineText(cells, head, at(80))).toBe("12:00:00  key_AbCd1234AbCd1234  127.0.0.1  tier=basic\n");
    expect(lineText(cells, head, at(50))).toBe("12:00:00  key_AbCd1234AbCd1234  127.0.0.1\n");
    expect(lineText(cells, head, at(20))).toBe("12:00:00  key_AbCd1234AbCd1234\n");
  });
});
