import { Migration } from "@mikro-orm/migrations";

/** The audit trail: who did what. */
export class AuditEvents extends Migration {
  override name = "0003-audit-events";

  override up(): void {
    this.addSql(`create table audit_events (
      id text primary key,
      happened_at timestamptz(3) not null,
      kind text not null,
      actor_id text not null,
      subject_id text not null,
      client_ip text not null,
      details jsonb not null
    )`);
    this.addSql("create index audit_events_by_time on audit_events (happened_at desc, id desc)");
    this.addSql("create index audit_events_by_subject on audit_events (subject_id, happened_at desc, id desc)");
    this.addSql("create index audit_events_by_actor on audit_events (actor_id, happened_at desc, id desc)");
  }
}
