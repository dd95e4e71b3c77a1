import { Migration } from "@mikro-orm/migrations";

/** NFC, then ASCII letters in lower case, as auth/email.ts has it. */
const formOf = (column: string) =>
  `translate(normalize(${column}, NFC), 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', 'abcdefghijklmnopqrstuvwxyz')`;

/**
 * Puts e-mail addresses into the form in which they are compared from now on. Of accounts that would become one, the
 * account that has this form already gets it, else the oldest. The others keep their own form, by which they are still
 * found (auth/find-account.ts). So does an address whose form depends on which came first, NFC or lower case: an ASCII
 * capital with a combining mark was found in either case, and in NFC its case is no longer ASCII's.
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
