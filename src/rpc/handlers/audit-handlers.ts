import { type ListAuditEventsDeps, listAuditEvents } from "../../audit/list-audit-events.ts";
import type { AdminService } from "../../gen/latchkey/v1/admin_service_pb.ts";
import type { UnaryHandlers } from "../call.ts";
import { listPage, type PageTokens } from "./page-token.ts";
import { timestampToMs, toTimestamp } from "./times.ts";

export interface AuditHandlersDeps extends ListAuditEventsDeps {
  readonly pageTokens: PageTokens;
}

/** The RPC of AdminService about the audit trail. */
export function auditHandlers(deps: AuditHandlersDeps): Pick<UnaryHandlers<typeof AdminService>, "listAuditEvents"> {
  return {
    listAuditEvents: async (request, call) => {
      const { subjectId, actorId } = request;
      const startMs = request.startTime && timestampToMs("start_time", request.startTime);
      const endMs = request.endTime && timestampToMs("end_time", request.endTime);
      const filter = [subjectId, actorId, String(startMs), String(endMs)];
      const { page, nextPageToken } = await listPage(deps.pageTokens, { request, call, filter }, (place) =>
        listAuditEvents(deps, { subjectId, actorId, startMs, endMs, ...place }),
      );
      return {
        events: page.items.map(({ happenedAtMs, ...event }) => ({
          ...event,
          eventTime: toTimestamp(happenedAtMs),
          details: { ...event.details },
        })),
        nextPageToken,
      };
    },
  };
}
