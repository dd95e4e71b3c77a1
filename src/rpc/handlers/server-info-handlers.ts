import type { AdminService } from "../../gen/latchkey/v1/admin_service_pb.ts";
import type { UnaryHandlers } from "../call.ts";
import { toTimestamp } from "./times.ts";

/** The process that answers. */
export interface ServerInfo {
  /** The service's version, such as `0.1.0`. */
  readonly version: string;
  /** When the process was started, by its host's clock. */
  readonly startedAtMs: number;
}

/** The RPC of AdminService about the process that answers it. */
export function serverInfoHandlers({
  version,
  startedAtMs,
}: ServerInfo): Pick<UnaryHandlers<typeof AdminService>, "getServerInfo"> {
  return { getServerInfo: () => ({ version, startTime: toTimestamp(startedAtMs) }) };
}
