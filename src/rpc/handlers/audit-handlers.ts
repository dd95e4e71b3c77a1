import { type ListAuditEventsDeps, listAuditEvents } from "../../audit/list-audit-events.ts";
import type { AdminService } from "../../gen/latchkey/v1/admin_service_pb.ts";
import type { UnaryHandlers } from "../call.ts";
import { type PageTokens, pageSize } from "./page-token.ts";
import { timestampToMs, toTimestamp } from "./times.ts";

export interface AuditHandlersDeps extends ListAuditEventsDeps {
  readonly pageTokens: PageTokens;
}

/** The audit trail, for operators. */
export function auditHandlers(deps: AuditHandlersDeps): Pick<UnaryHandlers<typeof AdminService>, "listAuditEvents"> {
  return {
    listAuditEvents: async (request, call) => {
      const { subjectId, actorId } = request;
      const startMs = request.startTime && timestampToMs("start_time", request.startTime);
      const endMs = request.endTime && timestampToMs("end_time", request.endTime);
      const filter = [subjectId, actorId, String(startMs), String(endMs)];
      const scope = { method: "ListAuditEvents", caller: call.caller, filter };
      const size = pageSize(request.pageSize);
      const after = deps.pageTokens.open(scope, request.pageToken);
      const page = await listAuditEvents(deps, { subjectId, actorId, startMs, endMs, size, after });
      return {
        events: page.items.map(({ happenedAtMs, ...event }) => ({
          ...event,
          eventTime: toTimestamp(happenedAtMs),
          details: { ...event.details },
        })),
        nextPageToken: deps.pageTokens.seal(scope, page.next),
      };
    },
  };
}
