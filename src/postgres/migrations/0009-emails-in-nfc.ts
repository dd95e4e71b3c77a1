import { Migration } from "@mikro-orm/migrations";

/** SQL: NFC, then ASCII letters in lower case; the same as in auth/email.ts. */
const formOf = (column: string) =>
  `translate(normalize(${column}, NFC), 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', 'abcdefghijklmnopqrstuvwxyz')`;

/**
 * Puts e-mail addresses into NFC, in which they are compared from this version on. If several accounts would get the
 * same address, the account that already has it keeps it. If none has it, the oldest account gets it. The others keep
 * their own form, by which they are still found (auth/find-account.ts). An address also keeps its form if the order of
 * NFC and lower case changes the result. An example is an ASCII capital with a combining mark: it was found in either
 * case, but NFC makes it a letter outside ASCII.
 */
export const COMPARE_EMAILS_IN_NFC = `
  with wanted as (
    select distinct on (form) id, form
    from (
      select id, created_at, ${formOf("email_normalized")} as form
      from users
      where email_normalized is not nfc normalized
        and ${formOf("email_normalized")} = ${formOf("email")}
    ) as others
    order by form, created_at, id
  )
  update users set email_normalized = wanted.form
  from wanted
  where users.id = wanted.id
    and not exists (select from users as taken where taken.email_normalized = wanted.form)`;

export class EmailsInNfc extends Migration {
  override name = "0009-emails-in-nfc";

  override up(): void {
    this.addSql(COMPARE_EMAILS_IN_NFC);
  }
}
