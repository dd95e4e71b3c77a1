import type { AuditEvent } from "../audit-event.ts";

/** An event as every destination gets it. */
export interface ExportedEvent {
  /**
   * The same for the same text, so that a receiver can drop a repetition. An event that counts refusals is exported
   * again when it has grown, with another id: the event's id, `-` and the count.
   */
  readonly id: string;
  /** JSON without line breaks: `type`, `timestamp` and `data`, as Standard Webhooks recommends. */
  readonly text: string;
}

/** The fields are those of ListAuditEvents. They may become more, but keep their names and meanings. */
export function exportedEvent({
  id,
  kind,
  happenedAtMs,
  actorId,
  subjectId,
  clientIp,
  details,
}: AuditEvent): ExportedEvent {
  const { count, last_time: lastTime } = details;
  return {
    id: lastTime === undefined ? id : `${id}-${count}`,
    text: JSON.stringify({
      type: kind,
      timestamp: new Date(happenedAtMs).toISOString(),
      data: { id, actor_id: actorId, subject_id: subjectId, client_ip: clientIp, details },
    }),
  };
}
