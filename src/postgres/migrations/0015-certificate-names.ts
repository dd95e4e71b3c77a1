import { Migration } from "@mikro-orm/migrations";

/**
 * Names of client certificates that stand for service credentials. The primary key lets a name belong to one credential
 * only. The table has no reference to api_keys, whose rows are never deleted, so that no lock of that table is waited
 * for. The new column has a constant default, which PostgreSQL stores without rewriting the table.
 */
export class CertificateNames extends Migration {
  override name = "0015-certificate-names";

  override up(): void {
    this.addSql(`create table certificate_names (
      name text primary key,
      credential_id text not null
    )`);
    this.addSql("create index certificate_names_credential_idx on certificate_names (credential_id)");
    this.addSql("alter table api_keys add column certificate_names text[] not null default '{}'");
  }
}
