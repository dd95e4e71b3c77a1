import { constants } from "node:crypto";
import type { Socket } from "node:net";
import { createServer, type SecureContextOptions, type TLSSocket, type Server as TlsServer } from "node:tls";
import type { Clock } from "../../lib/clock.ts";
import { addressHolder } from "../../shares/holder.ts";
import { TurnBudget } from "../calls/turn-budget.ts";
import type { AuthorityBundle, ClientAuthorities } from "./client-authorities.ts";
import { ConnectionCertificate, type Trust } from "./connection-certificate.ts";
import { HandshakeSocket } from "./handshake-socket.ts";
import type { CertificatePair, ServedCertificate } from "./served-certificate.ts";

export interface HandshakesDeps {
  readonly certificate: ServedCertificate;
  /** If they are given, clients may show a certificate. */
  readonly authorities?: ClientAuthorities | undefined;
  readonly clock: Pick<Clock, "nowMs">;
  /** Called after each handshake, with the certificate of the client if it showed one. */
  serve(socket: TLSSocket, certificate: ConnectionCertificate | undefined): void;
}

/** Maximum time of a TLS handshake. */
const HANDSHAKE_MS = 5000;
/** Interval at which connections are found whose certificate has ended. Calls on them are refused without it. */
const LOOK_EVERY_MS = 1000;

/** Time for calls that came before their client was asked to connect again. */
const ANSWER_MS = 250;
/** Maximum time until a trust is withdrawn, however many clients wait to be asked. */
const WITHDRAWN_MS = 3000;
/** Maximum connections that are asked to close in one turn of the event loop. Each costs about 0.1 ms. */
const ASKED_PER_TURN = 16;
const THIS_PROCESS = ["itself"] as const;

/**
 * The TLS handshakes of the port. A client may show a certificate or none. One with a fault ends no handshake: each
 * call that would rest on it is refused with the reason, which a client understands better than a closed connection.
 *
 * Each list of authorities has a server and a trust of its own. So a handshake that began under an earlier list belongs
 * to the trust of that list. If a list lacks an authority of the one before, or if an authority has ended, the earlier
 * trust is withdrawn. Its clients are asked to connect again. ANSWER_MS later, and after WITHDRAWN_MS at most, its
 * certificates no longer count. So no chain is judged here that OpenSSL has not verified in a handshake.
 */
export class Handshakes {
  readonly #deps: HandshakesDeps;
  #pair: CertificatePair | undefined;
  #bundle: AuthorityBundle | undefined;
  #trust = newTrust();
  #tls: TlsServer | undefined;
  /** Parts of handshakes with authorities. OpenSSL may check two signatures of 11 ms in one. */
  readonly #steps = new TurnBudget({ stepsPerTurn: 1 });
  /** The connection whose handshake gets bytes in this turn of the event loop. */
  #stepping: HandshakeSocket | undefined;
  readonly #asks = new TurnBudget({ stepsPerTurn: ASKED_PER_TURN, maxWaiting: Number.POSITIVE_INFINITY });
  /** The next end of an authority. */
  #nextEndMs = Number.POSITIVE_INFINITY;
  /** The function that asks the client of each certificate to connect again. */
  readonly #certified = new Map<ConnectionCertificate, () => void>();
  #looking: NodeJS.Timeout | undefined;

  constructor(deps: HandshakesDeps) {
    this.#deps = deps;
  }

  /** Number of connections since the start that were closed because too many handshakes waited. */
  get refused(): number {
    return this.#steps.refused;
  }

  /** Reads all files. Rejects if they can't be served. */
  async load(): Promise<void> {
    this.#pair = await this.#deps.certificate.load();
    this.#bundle = await this.#deps.authorities?.load();
    this.#noteNextEnd();
    this.#tls = this.#createServer();
  }

  /** Reads the files again from now on. Open connections keep the server's certificate that they began with. */
  watch(): void {
    const { certificate, authorities } = this.#deps;
    certificate.watch((pair) => {
      this.#pair = pair;
      this.#tls!.setSecureContext(contextOf(pair, this.#requested));
    });
    authorities?.watch((bundle) => this.#replace(bundle));
    if (authorities !== undefined) this.#looking = setInterval(() => this.#lookAtEnds(), LOOK_EVERY_MS).unref();
  }

  begin(socket: Socket): void {
    if (this.#requested === undefined) {
      this.#tls!.emit("connection", socket);
      return;
    }
    // A closed socket has no address.
    const holder = addressHolder(socket.remoteAddress ?? "");
    const turn = () => this.#steps.begin(holder);
    const bounded: HandshakeSocket = new HandshakeSocket(socket, turn, (isStepping) => {
      this.#stepping = isStepping ? bounded : undefined;
    });
    this.#tls!.emit("connection", bounded);
  }

  /**
   * Asks a client by `ask` to connect again, once its certificate has ended or should be renewed.
   *
   * @returns a function for the end of the connection
   */
  follow(certificate: ConnectionCertificate, ask: () => void): () => void {
    this.#certified.set(certificate, ask);
    return () => void this.#certified.delete(certificate);
  }

  stop(): void {
    this.#deps.certificate.stop();
    this.#deps.authorities?.stop();
    clearInterval(this.#looking);
    this.#tls?.close();
  }

  #createServer(): TlsServer {
    const trust = this.#trust;
    const bundle = this.#requested;
    const tls = createServer({
      ...contextOf(this.#pair!, bundle),
      ...(bundle && { requestCert: true, rejectUnauthorized: false }),
      ALPNProtocols: ["h2", "http/1.1"],
      handshakeTimeout: HANDSHAKE_MS,
    });
    tls.on("secureConnection", (socket: TLSSocket) => {
      socket.on("error", () => {});
      if (bundle !== undefined && !this.#free(socket)) return void socket.destroy();
      const shown = bundle && socket.getPeerX509Certificate();
      this.#deps.serve(socket, shown && new ConnectionCertificate(shown, socket, trust, this.#deps.clock));
    });
    tls.on("tlsClientError", (_error, socket) => socket.destroy());
    return tls;
  }

  /**
   * Ends the bound of a handshake that is done, and gives its socket the client's address. OpenSSL ends a handshake in
   * the same call that gives it the last bytes, and one connection has a step in a turn. So these bytes came from
   * `#stepping`. (A TLSSocket over a stream has no public way to it, and no address of its own.)
   *
   * @returns false if no connection has a step in this turn: then whose the socket is stays unknown
   */
  #free(socket: TLSSocket): boolean {
    const bounded = this.#stepping;
    if (bounded === undefined) return false;
    bounded.free();
    const { remoteAddress, remotePort } = bounded;
    Object.defineProperties(socket, { remoteAddress: { value: remoteAddress }, remotePort: { value: remotePort } });
    return true;
  }

  /** The authorities, if there are any: without a list, Node would trust those of the whole web. */
  get #requested(): AuthorityBundle | undefined {
    return this.#bundle?.fingerprints.size === 0 ? undefined : this.#bundle;
  }

  #replace(bundle: AuthorityBundle): void {
    const isRemoved = [...this.#bundle!.fingerprints].some((one) => !bundle.fingerprints.has(one));
    this.#bundle = bundle;
    this.#noteNextEnd();
    const replaced = this.#trust;
    if (isRemoved) this.#trust = newTrust();
    this.#tls = this.#createServer();
    if (isRemoved) this.#withdraw(replaced);
    // A certificate with a fault may be valid by the new list.
    else this.#askAll((certificate) => certificate.isFaulty);
  }

  #withdraw(trust: Trust): void {
    trust.isReplaced = true;
    const withdraw = () => {
      trust.isWithdrawn = true;
    };
    this.#askAll((certificate) => certificate.isFaulty || certificate.shouldClose);
    this.#asks.run(THIS_PROCESS, () => void setTimeout(withdraw, ANSWER_MS).unref());
    setTimeout(withdraw, WITHDRAWN_MS).unref();
  }

  #noteNextEnd(): void {
    const nowMs = this.#deps.clock.nowMs();
    this.#nextEndMs = Math.min(...(this.#bundle?.endsAtMs ?? []).filter((end) => end > nowMs));
  }

  #lookAtEnds(): void {
    this.#askAll((certificate) => certificate.shouldClose);
    if (this.#deps.clock.nowMs() < this.#nextEndMs) return;
    this.#noteNextEnd();
    const ended = this.#trust;
    this.#trust = newTrust();
    this.#tls = this.#createServer();
    this.#withdraw(ended);
  }

  #askAll(isConcerned: (certificate: ConnectionCertificate) => boolean): void {
    for (const [certificate, ask] of this.#certified) {
      if (!isConcerned(certificate)) continue;
      this.#certified.delete(certificate);
      this.#asks.run(THIS_PROCESS, ask);
    }
  }
}

function newTrust(): Trust {
  return { isReplaced: false, isWithdrawn: false };
}

/**
 * The TLS options, the same for the first server and for all later ones. With authorities no session is resumed: a
 * resumed handshake would bring the certificate of an earlier one without verifying it again.
 */
function contextOf({ cert, key }: CertificatePair, bundle: AuthorityBundle | undefined): SecureContextOptions {
  const own = { cert, key, minVersion: "TLSv1.2" } as const;
  if (bundle === undefined) return own;
  return {
    ...own,
    ca: bundle.ca,
    secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
  };
}
