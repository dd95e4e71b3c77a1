import { Health, HealthCheckResponse_ServingStatus as Status } from "../../gen/grpc/health/v1/health_pb.ts";
import { DomainError } from "../../lib/errors.ts";
import type { Call } from "../call.ts";
import { type Binding, bind, type ServiceHandlers } from "../routes.ts";

/** What a service can be; `SERVICE_UNKNOWN` is only ever told to watchers. */
export type ServiceStatus = "SERVING" | "NOT_SERVING";

/** Beyond this a watch is refused: probes poll, and few clients watch. */
const MAX_WATCHERS = 1000;

/**
 * Which services are fit to be called. The empty name stands for the process as a whole. Only this process' own state
 * belongs here: a shared database in a health check takes every replica out at once.
 */
export class HealthRegistry {
  readonly #statuses = new Map<string, ServiceStatus>();
  readonly #watchers = new Set<() => void>();
  #isShutDown = false;

  /** Has no effect after `shutDown`. */
  set(service: string, status: ServiceStatus): void {
    if (this.#isShutDown) return;
    this.#statuses.set(service, status);
    this.#tellWatchers();
  }

  /** Sets every service that was ever set. */
  setAll(status: ServiceStatus): void {
    for (const service of this.#statuses.keys()) this.set(service, status);
  }

  /** undefined for a service that was never set. */
  get(service: string): ServiceStatus | undefined {
    return this.#statuses.get(service);
  }

  all(): ReadonlyMap<string, ServiceStatus> {
    return this.#statuses;
  }

  /** Everything is NOT_SERVING from now on, and watches end once they have said so. */
  shutDown(): void {
    this.setAll("NOT_SERVING");
    this.#isShutDown = true;
    this.#tellWatchers();
  }

  get isShutDown(): boolean {
    return this.#isShutDown;
  }

  /** Calls `onChange` after each change, until the function that it returns is called. */
  watch(onChange: () => void): () => void {
    if (this.#watchers.size >= MAX_WATCHERS) throw new DomainError("OVERLOADED", "too many watches of health");
    this.#watchers.add(onChange);
    return () => this.#watchers.delete(onChange);
  }

  #tellWatchers(): void {
    for (const onChange of this.#watchers) onChange();
  }
}

/** grpc.health.v1.Health over a registry. */
export function healthBinding(registry: HealthRegistry): Binding {
  const handlers: ServiceHandlers<typeof Health> = {
    check: async ({ service }) => {
      const status = registry.get(service);
      if (status === undefined) throw new DomainError("HEALTH_SERVICE_NOT_FOUND", "unknown service");
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

/** The status now and after each change. A watcher that is slow misses what came between, never the latest. */
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
      if (registry.isShutDown) throw new DomainError("SHUTTING_DOWN", "this process is going away");
      await changed;
    }
  } finally {
    unwatch();
    signal.removeEventListener("abort", onChange);
  }
}
