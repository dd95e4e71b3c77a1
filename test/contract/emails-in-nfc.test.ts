/** Accounts from before addresses were compared in NFC: the migration merges none, and locks no person out. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseEmail } from "../../src/auth/email.ts";
import { findAccount } from "../../src/auth/find-account.ts";
import { newId } from "../../src/lib/id.ts";
import { COMPARE_EMAILS_IN_NFC } from "../../src/postgres/migrations/0009-emails-in-nfc.ts";
import { PostgresUserStore } from "../../src/postgres/stores/user-store.ts";
import { openDatabase, type TestDatabase } from "../support/database.ts";
import { DATABASE_KINDS } from "../support/database-kinds.ts";

const NFC = "caf\u00e9@example.com";
const NFD = "cafe\u0301@example.com";
/** Two combining marks, in the two orders that are canonically equivalent. */
const MARKS = ["a\u0323\u0301@example.com", "a\u0301\u0323@example.com"] as const;
const [KELVIN, K] = ["\u212aate@example.com", "kate@example.com"];

describe.each(DATABASE_KINDS)("the migration to NFC on %s", (kind) => {
  let test: TestDatabase;
  let store: PostgresUserStore;
  beforeAll(async () => {
    test = await openDatabase(kind);
    store = new PostgresUserStore(test.database);
  });
  afterAll(() => test?.[Symbol.asyncDispose]());

  /** Inserts accounts as the earlier version did: only ASCII letters in lower case. The first is the oldest. */
  async function given(...emails: readonly string[]): Promise<readonly string[]> {
    await test.database.unproven("delete from password_resets", []);
    await test.database.unproven("delete from users", []);
    const ids: string[] = [];
    for (const email of emails) {
      const user = {
        id: newId("usr"),
        email,
        emailNormalized: parseEmail(email)!.typed,
        displayName: "",
        tier: "basic",
        scopes: [],
      };
      const reset = { digest: crypto.getRandomValues(new Uint8Array(32)), ringVersion: 1, lifeMs: 1000 };
      await store.create({ user, reset, by: { id: "", clientIp: "" } });
      ids.push(user.id);
      test.clock.advance(1000);
    }
    return ids;
  }

  const migrate = () => test.database.unproven(COMPARE_EMAILS_IN_NFC, []);

  /** The account that a login finds. */
  async function found(typed: string): Promise<string | undefined> {
    return (await findAccount(store, parseEmail(typed)!)).secrets?.user.id;
  }

  it("lets an account in another form be found by both forms, and shows the address as given", async () => {
    const [id] = await given(NFD);
    // Control: without the migration the account is not found.
    expect(await found(NFC)).toBeUndefined();
    await migrate();
    expect([await found(NFC), await found(NFD), await found("CAFe\u0301@Example.com")]).toEqual([id, id, id]);
    expect((await store.find(id!))?.email).toBe(NFD);
  });

  it.each([
    ["the older one has the normal form", [NFC, NFD]],
    ["the newer one has the normal form", [NFD, NFC]],
  ])("keeps two accounts apart whose addresses become equal: %s", async (_what, emails) => {
    const ids = await given(...emails);
    await migrate();
    expect([await found(emails[0]!), await found(emails[1]!)]).toEqual(ids);
  });

  it("gives the normal form to the older of two accounts that lack it, and both are found", async () => {
    const [older, newer] = await given(...MARKS);
    await migrate();
    expect([await found(MARKS[0]), await found(MARKS[0].normalize("NFC"))]).toEqual([older, older]);
    expect(await found(MARKS[1])).toBe(newer);
  });

  it("puts ASCII letters that result from NFC into lower case", async () => {
    const [id] = await given(KELVIN);
    await migrate();
    expect([await found(K), await found(KELVIN)]).toEqual([id, id]);
  });

  it("still finds an address with a marked capital in either case", async () => {
    const [id] = await given("CAFE\u0301@example.com");
    await migrate();
    expect([await found("CAFE\u0301@example.com"), await found(NFD)]).toEqual([id, id]);
  });

  it("finds an address with invisible characters only by exactly these characters", async () => {
    const [id] = await given("mike\ufe0f@example.com");
    await migrate();
    expect([await found("Mike\ufe0f@example.com"), await found("mike@example.com")]).toEqual([id, undefined]);
  });

  it("leaves all other addresses unchanged, and changes nothing when it runs again", async () => {
    await given(NFC, NFD, K, "m\u0131ke@example.com", "stra\u00dfe@example.com");
    const forms = async () =>
      (await test.database.unproven("select id, email_normalized from users order by id", [])) as unknown;
    const before = await forms();
    await migrate();
    await migrate();
    expect(await forms()).toEqual(before);
  });

  it("keeps failed logins of two equal addresses apart, and counts those of one account in any form together", async () => {
    await given(NFC, NFD);
    await migrate();
    const formOf = async (typed: string) => (await findAccount(store, parseEmail(typed)!)).emailNormalized;
    expect([await formOf(NFC), await formOf(NFD)]).toEqual([NFC, NFD]);
    await given(NFC);
    expect(await formOf(NFD)).toBe(NFC);
  });

  it("lets an operator find all of the accounts by the address", async () => {
    const ids = await given(NFC, NFD);
    await migrate();
    const { normalized, typed } = parseEmail(NFD)!;
    const users = await store.list({ emailForms: [normalized, typed], after: undefined, limit: 9 });
    expect(users.map(({ id }) => id).toSorted()).toEqual(ids.toSorted());
  });
});
