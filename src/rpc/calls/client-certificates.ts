/** The client certificate of a connection, as an authority of this service signed it, or with its fault. */
export interface ClientCertificate {
  /** The DNS names and URIs of its subjectAltName, each once. Only those of a certificate without a fault count. */
  readonly names: readonly string[];
  /** Why it stands for no credential at the moment, as the end of a sentence; undefined for a valid one. */
  fault(): string | undefined;
}

/** The client certificates of connections, under the identity that the calls of a connection have in common. */
export class ClientCertificates {
  readonly #certificates = new WeakMap<object, ClientCertificate>();

  set(connection: object, certificate: ClientCertificate): void {
    this.#certificates.set(connection, certificate);
  }

  /** undefined for a connection without a client certificate. */
  of(connection: object): ClientCertificate | undefined {
    return this.#certificates.get(connection);
  }
}
