import { Migration } from "@mikro-orm/migrations";

/**
 * Puts e-mail addresses into the form in which they are compared from now on: NFC, then ASCII letters in lower case. Of
 * accounts that would become one, the account that has this form already gets it, else the oldest. The others keep their
 * own form, by which they are still found (auth/find-account.ts).
 */
export const COMPARE_EMAILS_IN_NFC = `
  with wanted as (
    select distinct on (form) id, form
    from (
      select id, created_at,
        translate(normalize(email_normalized, NFC), 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', 'abcdefghijklmnopqrstuvwxyz') as form
      from users
      where email_normalized is not nfc normalized
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
