import { Migration } from "@mikro-orm/migrations";

/** The export of the audit trail: its destinations, and the events that wait for each of them. */
export class AuditExports extends Migration {
  override name = "0014-audit-exports";

  override up(): void {
    // A row is also the lease of the process that exports to the destination.
    this.addSql(`create table audit_exports (
      destination text primary key,
      holder text not null,
      leased_until timestamptz(3) not null
    )`);
    this.addSql(`create table audit_outbox (
      id bigint generated always as identity primary key,
      destination text not null,
      event_id text not null,
      subject_id text not null,
      queued_at timestamptz(3) not null,
      due_at timestamptz(3) not null,
      attempts int not null default 0,
      revision int not null default 0,
      unique (destination, event_id)
    )`);
    this.addSql("create index audit_outbox_in_order on audit_outbox (destination, id)");
    this.addSql("create index audit_outbox_by_subject on audit_outbox (destination, subject_id, id)");
    // Events without a subject have no order among them.
    this.addSql("create index audit_outbox_alone on audit_outbox (destination, due_at, id) where subject_id = ''");
  }
}
