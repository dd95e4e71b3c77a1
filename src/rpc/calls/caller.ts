import { hash } from "node:crypto";
import { noteRefusedCredential, type RefusalRecorder } from "../../audit/refusal-recorder.ts";
import { type AuthenticateUserDeps, authenticateUser } from "../../auth/authenticate-user.ts";
import type { DatabaseClock } from "../../changes/database-clock.ts";
import type { CertificateCredentials, CertificateLookup } from "../../keys/credentials/certificate-credentials.ts";
import {
  credentialFault,
  credentialScopes,
  looksLikeCredential,
  type OpenCredentialDeps,
  openCredential,
  type PresentedCredential,
} from "../../keys/credentials/service-credential.ts";
import type { Key } from "../../keys/key.ts";
import type { RecordLookup } from "../../keys/key-records.ts";
import type { UsageRecorder } from "../../keys/usage-recorder.ts";
import { DomainError } from "../../lib/errors.ts";
import type { Caller, CallHead } from "../call.ts";
import type { ClientCertificates } from "./client-certificates.ts";
import type { ClientAddresses } from "./client-ip.ts";

/** The parts that resolve service credentials and access tokens. */
export interface CallerResolverDeps extends OpenCredentialDeps {
  readonly accessTokens: AuthenticateUserDeps;
  readonly databaseClock: DatabaseClock;
  /** Notes the use of a service credential. */
  readonly usage: Pick<UsageRecorder, "used">;
  /** Records the use of a credential whose secret is right, but which is no longer valid. */
  readonly refusals: Pick<RefusalRecorder, "note">;
  readonly addresses: Pick<ClientAddresses, "of">;
  /** The client certificates of connections, and the credentials that they stand for. */
  readonly clientCertificates: Pick<ClientCertificates, "of">;
  readonly certificates: Pick<CertificateCredentials, "lookup">;
}

const ANONYMOUS: Caller = Object.freeze({ kind: "anonymous" });
/** Maximum length of a credential. An access token has about 500 characters. */
const MAX_CREDENTIAL_LENGTH = 4096;
/** RFC 9110 11.4: the scheme's case does not matter. */
const BEARER = /^bearer +([\x21-\x7e]+) *$/i;
/** Maximum credentials remembered for one connection. It has one, or a few if a proxy shares the connection. */
const MAX_REMEMBERED = 8;

/** The caller of a credential, made once for each state of the credential. */
interface KnownCaller {
  key: Key | undefined;
  caller: Caller;
}

/** A service credential that a connection has presented: how to find its record, and the caller of the latest one. */
interface Known extends KnownCaller {
  readonly lookup: RecordLookup;
}

/** The same for the client certificate of a connection. */
interface KnownCertificate extends KnownCaller {
  readonly lookup: CertificateLookup;
}

/** The credentials of one connection, by the digest of the header, so that no credential itself is kept. */
type Remembered = Map<string, Known>;

/**
 * Finds the caller of a call from its headers. A connection remembers how to find the record of a service credential
 * that it has presented before, so the credential is parsed once. Every call judges the record again.
 */
export class CallerResolver {
  readonly #deps: CallerResolverDeps;
  readonly #remembered = new WeakMap<object, Remembered>();
  /** The client certificates that calls have rested on. */
  readonly #certificates = new WeakMap<object, KnownCertificate>();
  /** The user of the last valid access token of each connection. */
  readonly #users = new WeakMap<object, Caller>();

  constructor(deps: CallerResolverDeps) {
    this.#deps = deps;
  }

  /**
   * The caller, if this connection has shown its service credential before and the credential's record is in memory;
   * otherwise undefined.
   *
   * @throws CREDENTIAL_INVALID
   */
  known(head: CallHead): Caller | undefined {
    const values = head.header("authorization");
    if (values.length === 0) return this.#knownCertified(head);
    if (values.length !== 1 || values[0]!.length > MAX_CREDENTIAL_LENGTH) return undefined;
    const known = this.#remembered.get(head.connection)?.get(digestOf(values[0]!));
    const fresh = known?.lookup.fresh();
    return fresh && this.#judge(known!, fresh.record, head);
  }

  /**
   * Returns at once if the credential's record is in memory. An unreachable database never makes a credential invalid.
   *
   * @throws CREDENTIAL_INVALID, DATABASE_UNAVAILABLE, MASTER_KEY_MISSING, or the promise rejects with them
   */
  resolve(head: CallHead): Caller | Promise<Caller> {
    const values = head.header("authorization");
    if (values.length === 0) return this.#certified(head);
    if (values.length > 1) throw invalid("more than one authorization header");
    const value = values[0]!;
    if (value.length > MAX_CREDENTIAL_LENGTH) throw malformed();
    const digest = digestOf(value);
    const remembered = this.#remembered.get(head.connection)?.get(digest);
    if (remembered !== undefined) return this.#service(remembered, head);
    const token = BEARER.exec(value)?.[1];
    if (token === undefined) throw malformed();
    if (!looksLikeCredential(this.#deps.format, token)) {
      // An access token has two dots (RFC 7515, 3.1). Other secrets of the service have none.
      if (!token.includes(".")) throw otherSecret();
      return this.#user(token, head.connection);
    }
    const lookup = openCredential(this.#deps, token);
    if (lookup === undefined) throw unusable();
    const known = { lookup, key: undefined, caller: ANONYMOUS };
    this.#remember(head.connection, digest, known);
    return this.#service(known, head);
  }

  /**
   * The caller of a connection: that of its first valid service credential, or else that of its client certificate, or
   * else that of its last valid access token; undefined without any.
   */
  ofConnection(connection: object): Caller | undefined {
    for (const { caller } of this.#remembered.get(connection)?.values() ?? []) {
      if (caller !== ANONYMOUS) return caller;
    }
    const certified = this.#certificates.get(connection)?.caller ?? ANONYMOUS;
    return certified === ANONYMOUS ? this.#users.get(connection) : certified;
  }

  /** The caller of the connection's certificate, if it is known without waiting. */
  #knownCertified(head: CallHead): Caller | undefined {
    const known = this.#certificateOf(head);
    const fresh = known === undefined ? "unknown" : known.lookup.fresh();
    return fresh === "unknown" ? undefined : this.#judgeCertified(known!, fresh, head);
  }

  /** The caller of a call without a header: that of the connection's certificate, or else anonymous. */
  #certified(head: CallHead): Caller | Promise<Caller> {
    const known = this.#certificateOf(head);
    if (known === undefined) return ANONYMOUS;
    const fresh = known.lookup.fresh();
    if (fresh !== "unknown") return this.#judgeCertified(known, fresh, head);
    return known.lookup.find().then((found) => this.#judgeCertified(known, found, head));
  }

  /** @throws CREDENTIAL_INVALID if the certificate has a fault now */
  #certificateOf(head: CallHead): KnownCertificate | undefined {
    const { certificates, clientCertificates } = this.#deps;
    const certificate = clientCertificates.of(head.connection);
    if (certificate === undefined || isOfBrowser(head)) return undefined;
    const fault = certificate.fault();
    if (fault !== undefined) throw invalid(`the client certificate ${fault}`);
    let known = this.#certificates.get(head.connection);
    if (known === undefined) {
      known = { lookup: certificates.lookup(certificate.names), key: undefined, caller: ANONYMOUS };
      this.#certificates.set(head.connection, known);
    }
    return known;
  }

  #judgeCertified(known: KnownCertificate, record: PresentedCredential | undefined, head: CallHead): Caller {
    if (record === undefined) throw invalid("no service credential has a name of the client certificate");
    return this.#judge(known, record, head);
  }

  #service(known: Known, head: CallHead): Caller | Promise<Caller> {
    const fresh = known.lookup.fresh();
    if (fresh !== undefined) return this.#judge(known, fresh.record, head);
    return known.lookup.find(tokenOf(head)).then(({ record }) => this.#judge(known, record, head));
  }

  /** Judges state and expiry at every call. The rest of a record is read once. */
  #judge(known: KnownCaller, record: PresentedCredential | undefined, head: CallHead): Caller {
    const { databaseClock, usage, refusals, addresses } = this.#deps;
    if (record === undefined) throw unusable();
    const fault = databaseClock.judge((nowMs) => credentialFault(record, nowMs));
    if (fault !== undefined) {
      noteRefusedCredential(refusals, record.key.id, fault, addresses.of(head));
      throw unusable();
    }
    usage.used(record.key.id, databaseClock.nowMs());
    if (known.key !== record.key) {
      known.caller = { kind: "service", credentialId: record.key.id, scopes: credentialScopes(record.key) };
      known.key = record.key;
    }
    return known.caller;
  }

  async #user(token: string, connection: object): Promise<Caller> {
    const { userId, sessionId } = await authenticateUser(this.#deps.accessTokens, { accessToken: token });
    const caller: Caller = { kind: "user", userId, sessionId };
    this.#users.set(connection, caller);
    return caller;
  }

  #remember(connection: object, digest: string, known: Known): void {
    let remembered = this.#remembered.get(connection);
    if (remembered === undefined || remembered.size >= MAX_REMEMBERED) {
      remembered = new Map();
      this.#remembered.set(connection, remembered);
    }
    remembered.set(digest, known);
  }
}

/**
 * Whether a browser has sent the request (Fetch Metadata; the Fetch standard for `origin`). A browser adds a client
 * certificate to requests that any web page makes, without asking its user. So a certificate never speaks for a page.
 */
function isOfBrowser(head: CallHead): boolean {
  return head.header("origin").length > 0 || head.header("sec-fetch-site").length > 0;
}

function digestOf(authorization: string): string {
  return hash("sha256", authorization, "base64url");
}

/** The token of a head whose credential is remembered, so the head has one. */
function tokenOf(head: CallHead): string {
  return BEARER.exec(head.header("authorization")[0]!)![1]!;
}

function malformed(): DomainError {
  return invalid("the authorization header must be `Bearer` and a credential");
}

function otherSecret(): DomainError {
  return invalid("send an access token or a service credential: API keys and refresh tokens are no credentials here");
}

function unusable(): DomainError {
  return invalid("the service credential is not valid");
}

function invalid(message: string): DomainError {
  return new DomainError("CREDENTIAL_INVALID", message);
}
