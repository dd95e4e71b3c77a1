/**
 * STANDARD. What any gRPC server has, apart from its own services.
 *
 *   health.ts        grpc.health.v1: whether this process takes calls, for probes and load balancers
 *   reflection.ts    grpc.reflection: the contract as data, for grpcurl and similar tools
 *   cors.ts          which web pages may call from a browser
 *   web-pages.ts     answers to HTTP requests that are not RPCs: the key set, the pages below, or 404
 *   static-pages.ts  pages that never change, with their ETag, a piece at a time
 *   docs-page.ts     `/docs`: a viewer of openapi.json
 *   openapi.json     the description of the REST paths, generated from the contract
 */
import { Health, HealthCheckResponse_ServingStatus as Status } from "../../gen/grpc/health/v1/health_pb.ts";
import { DomainError } from "../../lib/errors.ts";
import type { Call } from "../call.ts";
import { type Binding, bind, type ServiceHandlers } from "../routes.ts";

/** The status of a known service. Watchers of an unknown one receive `SERVICE_UNKNOWN` instead. */
export type ServiceStatus = "SERVING" | "NOT_SERVING";

/**
 * The health of each service. The empty name stands for the whole process. Only this process's own state belongs here:
 * if health depended on a shared database, one outage of it would take every replica out of service at once.
 */
export class HealthRegistry {
  readonly #statuses = new Map<string, ServiceStatus>();
  readonly #watchers = new Set<() => void>();
  #isShutDown = false;

  /** Sets the status of one service. Has no effect after `shutDown`. */
  set(service: string, status: ServiceStatus): void {
    if (this.#isShutDown) return;
    this.#statuses.set(service, status);
    this.#tellWatchers();
  }

  /** Sets the status of each service that was set before. */
  setAll(status: ServiceStatus): void {
    for (const service of this.#statuses.keys()) this.set(service, status);
  }

  /** The status of a service; undefined for one that was never set. */
  get(service: string): ServiceStatus | undefined {
    return this.#statuses.get(service);
  }

  all(): ReadonlyMap<string, ServiceStatus> {
    return this.#statuses;
  }

  /** Sets each service to NOT_SERVING for good. Watches report this, and end. */
  shutDown(): void {
    this.setAll("NOT_SERVING");
    this.#isShutDown = true;
    this.#tellWatchers();
  }

  get isShutDown(): boolean {
    return this.#isShutDown;
  }

  /** Calls `onChange` after each change. Returns a function that ends the watch. */
  watch(onChange: () => void): () => void {
    this.#watchers.add(onChange);
    return () => this.#watchers.delete(onChange);
  }

  #tellWatchers(): void {
    for (const onChange of this.#watchers) onChange();
  }
}

/** grpc.health.v1.Health, answered from a registry. */
export function healthBinding(registry: HealthRegistry): Binding {
  const handlers: ServiceHandlers<typeof Health> = {
    check: async ({ service }) => {
      const status = registry.get(service);
      if (status === undefined)
        throw new DomainError("HEALTH_SERVICE_NOT_FOUND", "there is no service of this name; List returns the names");
      return { status: Status[status] };
    },
    list: async () => ({
      statuses: Object.fromEntries(
        [...registry.all()].map(([service, status]) => [service, { status: Status[status] }]),
      ),
    }),
    watch: ({ service }, call) => watch(registry, service, call),
  };
  return bind(Health, handlers);
}

/** The status now and after each change. A slow watcher misses statuses in between, but always receives the latest. */
async function* watch(registry: HealthRegistry, service: string, { signal }: Call) {
  let wake = () => {};
  const onChange = () => wake();
  const unwatch = registry.watch(onChange);
  signal.addEventListener("abort", onChange);
  try {
    let told: string | undefined;
    while (!signal.aborted) {
      const changed = new Promise<void>((resolve) => {
        wake = resolve;
      });
      const status = registry.get(service) ?? "SERVICE_UNKNOWN";
      if (status !== told) {
        told = status;
        yield { status: Status[status] };
      }
      if (registry.isShutDown)
        throw new DomainError("SHUTTING_DOWN", "this process is shutting down; watch another one");
      await changed;
    }
  } finally {
    unwatch();
    signal.removeEventListener("abort", onChange);
  }
}
