import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { Authorization } from "../gen/envoy/service/auth/v3/external_auth_pb.ts";
import { RateLimitService } from "../gen/envoy/service/ratelimit/v3/rls_pb.ts";
import { Health } from "../gen/grpc/health/v1/health_pb.ts";
import { ServerReflection } from "../gen/grpc/reflection/v1/reflection_pb.ts";
import { ServerReflection as ServerReflectionAlpha } from "../gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { AdminService } from "../gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "../gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "../gen/latchkey/v1/key_service_pb.ts";

/** A row for each method of a service, by the method's local name. A missing row does not compile. */
type Rows<S extends DescService, Row> = { readonly [K in keyof S["method"]]: Row };

/** The rows of a table that states one fact about each method of all services. */
interface MethodRows<Row> {
  readonly auth: Rows<typeof AuthService, Row>;
  readonly keys: Rows<typeof KeyService, Row>;
  readonly administration: Rows<typeof AdminService, Row>;
  readonly envoyAuthorization: Rows<typeof Authorization, Row>;
  readonly envoyRateLimits: Rows<typeof RateLimitService, Row>;
  readonly health: Rows<typeof Health, Row>;
  readonly reflection: Rows<typeof ServerReflection, Row>;
}

/** A table of rows, by the type name of a service and then the local name of a method. */
export type MethodTable<Row> = ReadonlyMap<string, Readonly<Record<string, Row>>>;

/** Makes a table. Both versions of reflection share their rows. */
export function methodTable<Row>(rows: MethodRows<Row>): MethodTable<Row> {
  return new Map<string, Readonly<Record<string, Row>>>([
    [AuthService.typeName, rows.auth],
    [KeyService.typeName, rows.keys],
    [AdminService.typeName, rows.administration],
    [Authorization.typeName, rows.envoyAuthorization],
    [RateLimitService.typeName, rows.envoyRateLimits],
    [Health.typeName, rows.health],
    [ServerReflection.typeName, rows.reflection],
    [ServerReflectionAlpha.typeName, rows.reflection],
  ]);
}

/**
 * The row of a method. There is no default, because a default would serve a new method that has no row.
 *
 * @param file the source file of the table, for the error
 * @throws {Error} for a method without a row
 */
export function rowOf<Row>(table: MethodTable<Row>, method: DescMethod, file: string): Row {
  const row = table.get(method.parent.typeName)?.[method.localName];
  if (row === undefined) throw new Error(`${method.parent.typeName}.${method.name} has no row in ${file}`);
  return row;
}
