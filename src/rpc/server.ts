import { systemTimers } from "../lib/clock.ts";
import type { Caller } from "./call.ts";
import type { CallObserver } from "./calls/call-log.ts";
import type { ClientCertificates } from "./calls/client-certificates.ts";
import { Concerns, type ConcernsDeps } from "./calls/concerns.ts";
import { ClientAuthorities } from "./connections/client-authorities.ts";
import { Port, type PortOptions } from "./connections/port.ts";
import { type CertificateFiles, ServedCertificate } from "./connections/served-certificate.ts";
import { createConnectLane } from "./lanes/connect-lane.ts";
import { type LaneCalls, noLaneCalls } from "./lanes/lane-calls.ts";
import { createStreamTaker } from "./lanes/unary-http2.ts";
import { UnaryLane } from "./lanes/unary-lane.ts";
import { UnreadAnswers } from "./lanes/unread-answers.ts";
import { createRestLane } from "./rest/rest-lane.ts";
import { type Binding, createRoutes, type MethodTables } from "./routes.ts";
import { createCors } from "./standard/cors.ts";
import { type HealthRegistry, healthBinding } from "./standard/health.ts";
import { reflectionBindings } from "./standard/reflection.ts";
import { createWebPages, type WebPagesDeps } from "./standard/web-pages.ts";

export interface RpcServerDeps extends ConcernsDeps, WebPagesDeps, MethodTables {
  readonly health: HealthRegistry;
  /** The caller of a connection, as its latest calls proved it; undefined while unknown. Default: always unknown. */
  callerOfConnection?(connection: object): Caller | undefined;
  /** Gets the client certificate of each connection that has one. */
  readonly clientCertificates?: Pick<ClientCertificates, "set"> | undefined;
}

/** The parts of a port that the server makes or is given as deps. */
type Own = "certificate" | "authorities" | "clientCertificates" | "clock";

export interface RpcServerOptions
  extends Omit<PortOptions, "onRequest" | "takeStream" | "mayBegin" | "callerOf" | "isOfService" | Own> {
  /** Files of the certificate. With them the port speaks TLS. */
  readonly tls?: CertificateFiles | undefined;
  /** PEM file of the authorities of client certificates. With it and `tls`, clients may show a certificate. */
  readonly clientCaFile?: string | undefined;
  readonly reflection: boolean;
  /** Whether to serve `/docs`. Default false. */
  readonly docsPage?: boolean;
  /** Origins whose web pages may call; empty for none. */
  readonly corsOrigins: readonly string[];
  /** Time that `stop` gives to calls in flight. */
  readonly drainMs: number;
  /** Whether unary gRPC takes the unary lane instead of connect-node. Default true. Tests compare both. */
  readonly unaryLane?: boolean;
}

/** Time that aborted calls have to send their error before their connections are cut. */
const ABORTED_GRACE_MS = 200;

/** The server of the service's main port: its RPCs, health, reflection, the key set and CORS. */
export class RpcServer {
  readonly #deps: RpcServerDeps;
  readonly #drainMs: number;
  readonly #concerns: Concerns;
  readonly #unaryLane: UnaryLane | undefined;
  readonly #certificate: ServedCertificate | undefined;
  readonly #authorities: ClientAuthorities | undefined;
  readonly #port: Port;
  readonly #unread = new UnreadAnswers();
  readonly #laneCalls = noLaneCalls();
  #stopped: Promise<void> | undefined;

  /**
   * Health reports NOT_SERVING for each service and for the empty name, until `health.setAll("SERVING")`.
   *
   * @throws {Error} for a method without an access rule
   */
  constructor(deps: RpcServerDeps, bindings: readonly Binding[], options: RpcServerOptions) {
    this.#deps = deps;
    this.#drainMs = options.drainMs;
    const offered = [...bindings, healthBinding(deps.health)];
    if (options.reflection) offered.push(...reflectionBindings(offered));
    const routes = createRoutes(offered, deps);
    const noteWork = (connection: object, weight: number) => this.#port.noteWork(connection, weight);
    this.#concerns = new Concerns({ ...deps, noteWork });
    const unread = this.#unread;
    const laneDeps = { routes, concerns: this.#concerns, unread, calls: this.#laneCalls };
    const connectLane = createConnectLane(laneDeps);
    const restLane = createRestLane(laneDeps);
    this.#unaryLane = options.unaryLane === false ? undefined : new UnaryLane(laneDeps);
    const answerCors = createCors(options.corsOrigins, unread);
    const serveWebPage = createWebPages(deps, { docsPage: options.docsPage ?? false, unread });
    this.#certificate = options.tls && new ServedCertificate({ ...deps, files: options.tls, timers: systemTimers });
    const { tls, clientCaFile: file } = options;
    this.#authorities =
      tls === undefined || file === undefined
        ? undefined
        : new ClientAuthorities({ file, timers: systemTimers, log: deps.log });
    this.#port = new Port({
      ...options,
      certificate: this.#certificate,
      authorities: this.#authorities,
      clientCertificates: deps.clientCertificates,
      clock: deps.clock,
      takeStream: this.#unaryLane && createStreamTaker(this.#unaryLane, unread, noteWork),
      mayBegin: (head, whenGone) => this.#concerns.beginStep(head, whenGone),
      callerOf: (connection) => callerName(deps.callerOfConnection?.(connection)),
      isOfService: (connection) => deps.callerOfConnection?.(connection)?.kind === "service",
      onRequest: (request, response) => {
        if (answerCors(request, response) || restLane(request, response) || connectLane(request, response)) return;
        serveWebPage(request, response);
      },
    });
    for (const name of ["", ...bindings.map(({ service }) => service.typeName)]) deps.health.set(name, "NOT_SERVING");
  }

  /** Calls in flight, streams included. */
  get callsInFlight(): number {
    return this.#concerns.inFlight;
  }

  /** Tells an observer of each call that ends from now on. */
  observe(observer: CallObserver): void {
    this.#concerns.observe(observer);
  }

  /** Listens. Returns the address as `host:port`. */
  start(): Promise<string> {
    return this.#port.start();
  }

  /** When the TLS certificate in use expires, by the host's clock; undefined without TLS. */
  get certificateExpiresAtMs(): number | undefined {
    return this.#certificate?.expiresAtMs;
  }

  /** Starts to read the TLS certificate and the client authorities again, and does not wait for them. */
  reload(): void {
    void this.#certificate?.readAgain();
    void this.#authorities?.readAgain();
  }

  /** Number of calls since the start, by lane. */
  get laneCalls(): Readonly<LaneCalls> {
    return this.#laneCalls;
  }

  /** Number of calls that the unary lane took since the start. */
  get unaryLaneCalls(): number {
    return this.#laneCalls.unary_grpc + this.#laneCalls.envoy;
  }

  /** Open connections. */
  get connections(): number {
    return this.#port.counts.open;
  }

  /** Number of calls and connections since the start that were refused or ended for lack of room. */
  get sheds() {
    const { refused: connections } = this.#port.counts;
    return { ...this.#concerns.sheds, connections, unread_answers: this.#unread.cut };
  }

  /**
   * Stops gracefully. Health reports NOT_SERVING, clients are told to connect elsewhere, streams end, and calls in
   * flight have `drainMs`. Calls that still run then fail with SHUTTING_DOWN, and 200 ms later their connections are
   * cut. Resolves when every connection is closed.
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
      setTimeout(() => this.#port.cut(), this.#drainMs + ABORTED_GRACE_MS),
    ];
    await closed;
    for (const timer of timers) clearTimeout(timer);
  }
}

function callerName(caller: Caller | undefined): string | undefined {
  if (caller?.kind === "user") return caller.userId;
  return caller?.kind === "service" ? caller.credentialId : undefined;
}
