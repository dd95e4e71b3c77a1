import type { X509Certificate } from "node:crypto";
import type { TLSSocket } from "node:tls";
import type { Clock } from "../../lib/clock.ts";
import type { ClientCertificate } from "../calls/client-certificates.ts";
import { MAX_SUBJECT_NAMES, subjectNames } from "./subject-names.ts";

/** The trust in the authorities by which handshakes were verified. It ends when one is taken off the list or ends. */
export interface Trust {
  /** Whether its clients are asked to connect again. */
  isReplaced: boolean;
  /** Whether its certificates count no longer: a moment later, so that calls that have come are still answered. */
  isWithdrawn: boolean;
}

/** The property of a TLS socket that holds its client certificate, until its session begins. */
export const CERTIFICATE = Symbol("certificate");

export interface CertifiedSocket extends TLSSocket {
  [CERTIFICATE]?: ConnectionCertificate;
}

/** Time before a certificate's end at which its connection is asked to close, so that its client brings a newer one. */
const RENEWAL_MS = 10_000;
/**
 * Time after which a connection whose certificate has a fault is asked to close, for the same reason. It begins with
 * the first call that rests on the certificate. A client that sends a bearer credential needs no other certificate.
 */
const FAULTY_MS = 30_000;

/** OpenSSL's reasons to refuse a certificate, in the words of this service. */
const FAULTS: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: "has expired",
  CERT_NOT_YET_VALID: "is not valid yet",
  INVALID_PURPOSE: "is not for clients by its extendedKeyUsage",
};
const UNKNOWN_AUTHORITY = "is signed by no client authority of this service";

/**
 * The certificate that a client has shown in its TLS handshake, and proved to have the key of. OpenSSL verifies its
 * chain once, in the handshake. From then on the certificate may end in two ways, and each call asks: by its own time,
 * and by the end of the trust in the authorities of that handshake.
 */
export class ConnectionCertificate implements ClientCertificate {
  readonly names: readonly string[];
  readonly #clock: Pick<Clock, "nowMs">;
  readonly #trust: Trust;
  readonly #firstFault: string | undefined;
  readonly #endsAtMs: number;
  #closesAtMs: number;

  /** @param socket after its handshake */
  constructor(certificate: X509Certificate, socket: TLSSocket, trust: Trust, clock: Pick<Clock, "nowMs">) {
    this.#clock = clock;
    this.#trust = trust;
    const refusal = handshakeFault(socket);
    // Strangers choose how large their certificates are, so no work is done for those.
    const names = refusal === undefined ? subjectNames(certificate.raw) : [];
    this.#firstFault = refusal ?? namesFault(names);
    this.names = names ?? [];
    const nowMs = clock.nowMs();
    const isValid = this.#firstFault === undefined;
    this.#endsAtMs = isValid ? endOf(certificate, nowMs) : Number.POSITIVE_INFINITY;
    const isLong = this.#endsAtMs - nowMs > 2 * RENEWAL_MS;
    this.#closesAtMs = this.#endsAtMs - (isLong ? RENEWAL_MS : 0);
  }

  /** Asked for each call that rests on the certificate. */
  fault(): string | undefined {
    if (this.#firstFault !== undefined) {
      if (this.#closesAtMs === Number.POSITIVE_INFINITY) this.#closesAtMs = this.#clock.nowMs() + FAULTY_MS;
      return this.#firstFault;
    }
    if (this.#trust.isWithdrawn) return "was verified before an authority was removed or ended; connect again";
    return this.#clock.nowMs() < this.#endsAtMs ? undefined : FAULTS.CERT_HAS_EXPIRED;
  }

  /** Whether the client should connect again now: its certificate ends soon, or has had a fault for a while. */
  get shouldClose(): boolean {
    return this.#trust.isReplaced || this.#clock.nowMs() >= this.#closesAtMs;
  }

  /** Whether another handshake might find no fault after the authorities have changed. */
  get isFaulty(): boolean {
    return this.#firstFault !== undefined;
  }
}

function handshakeFault({ authorized, authorizationError }: TLSSocket): string | undefined {
  if (authorized) return undefined;
  return FAULTS[String(authorizationError)] ?? UNKNOWN_AUTHORITY;
}

function namesFault(names: readonly string[] | undefined): string | undefined {
  if (names === undefined) return `has more than ${MAX_SUBJECT_NAMES} names, or no readable subjectAltName`;
  return names.length === 0 ? "has neither a DNS name nor a URI in its subjectAltName" : undefined;
}

/**
 * The earliest end of the certificate and of all that came with it: OpenSSL does not say which of them it has used. It
 * has not used those that had ended before.
 */
function endOf(leaf: X509Certificate, nowMs: number): number {
  let endsAtMs = Date.parse(leaf.validTo);
  for (let { issuerCertificate: next } = leaf; next !== undefined; next = next.issuerCertificate) {
    const end = Date.parse(next.validTo);
    if (end > nowMs) endsAtMs = Math.min(endsAtMs, end);
  }
  return endsAtMs;
}
