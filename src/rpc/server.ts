import { systemTimers } from "../lib/clock.ts";
import type { Caller } from "./call.ts";
import { Concerns, type ConcernsDeps } from "./calls/concerns.ts";
import { Port, type PortOptions } from "./connections/port.ts";
import { type CertificateFiles, ServedCertificate } from "./connections/served-certificate.ts";
import { createConnectLane } from "./lanes/connect-lane.ts";
import { createStreamTaker } from "./lanes/unary-http2.ts";
import { UnaryLane } from "./lanes/unary-lane.ts";
import { type Binding, createRoutes, type MethodTables } from "./routes.ts";
import { createCors } from "./standard/cors.ts";
import { type HealthRegistry, healthBinding } from "./standard/health.ts";
import { reflectionBindings } from "./standard/reflection.ts";
import { serveWebPage, type WebPagesDeps } from "./standard/web-pages.ts";

export interface RpcServerDeps extends ConcernsDeps, WebPagesDeps, MethodTables {
  readonly health: HealthRegistry;
  /** The caller whose connection it is, as far as its calls have shown. Default: not known. */
  callerOfConnection?(connection: object): Caller | undefined;
}

export interface RpcServerOptions
  extends Omit<PortOptions, "onRequest" | "takeStream" | "mayBegin" | "callerOf" | "certificate"> {
  /** With it the port speaks TLS. */
  readonly tls?: CertificateFiles | undefined;
  readonly reflection: boolean;
  /** Origins whose browsers may call; empty for none. */
  readonly corsOrigins: readonly string[];
  /** How long `stop` waits for calls in flight. */
  readonly drainMs: number;
  /** Whether unary gRPC goes the short way. Default true; tests hold both ways to the same behaviour. */
  readonly unaryLane?: boolean;
}

/** How long calls that were ended by force have to get their answer out. */
const LAST_WORDS_MS = 200;

/** The whole of the service's port: its RPCs with health and reflection, the key set, CORS. */
export class RpcServer {
  readonly #deps: RpcServerDeps;
  readonly #drainMs: number;
  readonly #concerns: Concerns;
  readonly #unaryLane: UnaryLane | undefined;
  readonly #certificate: ServedCertificate | undefined;
  readonly #port: Port;
  #stopped: Promise<void> | undefined;

  /**
   * Every service, and the empty name, is NOT_SERVING until `health.setAll("SERVING")`.
   *
   * @throws {Error} for a method without an access rule
   */
  constructor(deps: RpcServerDeps, bindings: readonly Binding[], options: RpcServerOptions) {
    this.#deps = deps;
    this.#drainMs = options.drainMs;
    const offered = [...bindings, healthBinding(deps.health)];
    if (options.reflection) offered.push(...reflectionBindings(offered));
    const routes = createRoutes(offered, deps);
    this.#concerns = new Concerns({
      ...deps,
      noteWork: (connection, weight) => this.#port.noteWork(connection, weight),
    });
    const connectLane = createConnectLane({ routes, concerns: this.#concerns });
    this.#unaryLane = options.unaryLane === false ? undefined : new UnaryLane({ routes, concerns: this.#concerns });
    const answerCors = createCors(options.corsOrigins);
    this.#certificate = options.tls && new ServedCertificate({ ...deps, files: options.tls, timers: systemTimers });
    this.#port = new Port({
      ...options,
      certificate: this.#certificate,
      takeStream: this.#unaryLane && createStreamTaker(this.#unaryLane),
      mayBegin: (head, whenGone) => this.#concerns.beginStep(head, whenGone),
      callerOf: (connection) => callerName(deps.callerOfConnection?.(connection)),
      onRequest: (request, response) => {
        if (answerCors(request, response) || connectLane(request, response)) return;
        serveWebPage(deps, request, response);
      },
    });
    for (const name of ["", ...bindings.map(({ service }) => service.typeName)]) deps.health.set(name, "NOT_SERVING");
  }

  /** Calls in flight, streams included. */
  get callsInFlight(): number {
    return this.#concerns.inFlight;
  }

  /** Listens. Returns the address. */
  start(): Promise<string> {
    return this.#port.start();
  }

  /** When the TLS certificate that is served expires; undefined without TLS. */
  get certificateExpiresAtMs(): number | undefined {
    return this.#certificate?.expiresAtMs;
  }

  /** Reads the TLS certificate again, without waiting for it. */
  reload(): void {
    void this.#certificate?.readAgain();
  }

  /** How many calls have come by the unary lane. */
  get unaryLaneCalls(): number {
    return this.#unaryLane?.taken ?? 0;
  }

  /**
   * Stops gracefully: health says NOT_SERVING, clients are told to go elsewhere, streams end, calls in flight have
   * `drainMs`; what is left then is answered SHUTTING_DOWN and cut. Resolves when every connection is closed.
   */
  stop(): Promise<void> {
    this.#stopped ??= this.#drain();
    return this.#stopped;
  }

  async #drain(): Promise<void> {
    this.#deps.health.shutDown();
    this.#concerns.drain();
    const closed = this.#port.drain();
    const timers = [
      setTimeout(() => this.#concerns.abortAll(), this.#drainMs),
      setTimeout(() => this.#port.cut(), this.#drainMs + LAST_WORDS_MS),
    ];
    await closed;
    for (const timer of timers) clearTimeout(timer);
  }
}

function callerName(caller: Caller | undefined): string | undefined {
  if (caller?.kind === "user") return caller.userId;
  return caller?.kind === "service" ? caller.credentialId : undefined;
}
