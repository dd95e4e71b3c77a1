/** How long a page of each list takes: the first one, and pages at random places of the list. */
import type { DescMethodUnary, MessageInitShape } from "@bufbuild/protobuf";
import type pg from "pg";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { PageTokens } from "../../src/rpc/handlers/page-token.ts";
import type { Rpc } from "../call.ts";
import { rpcOf, type Times, timesOf } from "./calls.ts";
import { withPostgresCpu } from "./postgres-cpu.ts";
import type { GrownService } from "./service.ts";
import { AUDIT_DAYS } from "./table-rows.ts";

export interface Listing {
  readonly name: string;
  readonly first: Times;
  /** undefined for a list of few pages. */
  readonly deep: Times | undefined;
  /** CPU time of PostgreSQL for a first page, and for a deep one; undefined if it runs elsewhere. */
  readonly firstUs: number | undefined;
  readonly deepUs: number | undefined;
}

/** Ids of the data set by which lists are filtered. */
export interface ListedIds {
  /** Owners with hundreds of keys. */
  readonly owners: readonly string[];
  readonly actors: readonly string[];
}

const DAY_MS = 86_400_000;

export async function measureListings(
  client: pg.Client,
  service: GrownService,
  { owners, actors }: ListedIds,
  calls: number,
): Promise<readonly Listing[]> {
  const { port, ring, admin, credentialId } = service;
  const tokens = new PageTokens(ring);
  const caller = { kind: "service", credentialId, credentialName: "", scopes: [] } as const;
  /** A call of the list at a random place, between now and `days` ago. */
  function deepCall<M extends DescMethodUnary>(method: M, days: number, filter: readonly (string | boolean)[]): Rpc {
    const position = { createdAtMs: Math.round(Date.now() - Math.random() * days * DAY_MS), id: "zzz" };
    const pageToken = tokens.seal({ method: method.name, caller, filter }, position);
    return rpcOf(method, admin, { pageToken } as unknown as MessageInitShape<M["input"]>);
  }
  const times = (rpcAt: (n: number) => Rpc) =>
    withPostgresCpu(client, calls, () =>
      timesOf(
        port,
        Array.from({ length: calls }, (_, n) => rpcAt(n)),
      ),
    );
  async function measure(name: string, firstAt: (n: number) => Rpc, deep?: () => Rpc): Promise<Listing> {
    const [first, firstUs] = await times(firstAt);
    const [deepTimes, deepUs] = deep === undefined ? [undefined, undefined] : await times(deep);
    return { name, first, firstUs, deep: deepTimes, deepUs };
  }
  const { listKeys } = KeyService.method;
  const { listUsers, listAuditEvents } = AdminService.method;
  const nth = (ids: readonly string[], n: number) => ids[n % ids.length]!;
  return [
    await measure(
      "ListKeys, of all owners",
      () => rpcOf(listKeys, admin, {}),
      () => deepCall(listKeys, 700, ["", false]),
    ),
    await measure("ListKeys, of an owner of hundreds", (n) => rpcOf(listKeys, admin, { ownerId: nth(owners, n) })),
    await measure(
      "ListUsers",
      () => rpcOf(listUsers, admin, {}),
      () => deepCall(listUsers, 700, [""]),
    ),
    await measure(
      "ListAuditEvents, of all",
      () => rpcOf(listAuditEvents, admin, {}),
      () => deepCall(listAuditEvents, AUDIT_DAYS, ["", "", "undefined", "undefined"]),
    ),
    await measure("ListAuditEvents, of an actor", (n) => rpcOf(listAuditEvents, admin, { actorId: nth(actors, n) })),
  ];
}
