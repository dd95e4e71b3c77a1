import { hash } from "node:crypto";
import { noteRefusedCredential, type RefusalRecorder } from "../../audit/refusal-recorder.ts";
import { type AuthenticateUserDeps, authenticateUser } from "../../auth/authenticate-user.ts";
import type { DatabaseClock } from "../../changes/database-clock.ts";
import {
  credentialFault,
  credentialScopes,
  looksLikeCredential,
  type OpenCredentialDeps,
  openCredential,
} from "../../keys/credentials/service-credential.ts";
import type { KeyRecord, RecordLookup } from "../../keys/key-records.ts";
import type { UsageRecorder } from "../../keys/usage-recorder.ts";
import { DomainError } from "../../lib/errors.ts";
import type { Caller, CallHead } from "../call.ts";
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
}

const ANONYMOUS: Caller = Object.freeze({ kind: "anonymous" });
/** Maximum length of a credential. An access token has about 500 characters. */
const MAX_CREDENTIAL_LENGTH = 4096;
/** RFC 9110 11.4: the scheme's case does not matter. */
const BEARER = /^bearer +([\x21-\x7e]+) *$/i;
/** Maximum credentials remembered for one connection. It has one, or a few if a proxy shares the connection. */
const MAX_REMEMBERED = 8;

/**
 * A service credential that a connection has presented: how to find its record, and the caller of the latest record.
 */
interface Known {
  readonly lookup: RecordLookup;
  record: KeyRecord | undefined;
  caller: Caller;
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
    if (values.length === 0) return ANONYMOUS;
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
    const known = { lookup, record: undefined, caller: ANONYMOUS };
    this.#remember(head.connection, digest, known);
    return this.#service(known, head);
  }

  /**
   * The caller of a connection: that of its first valid service credential, or else that of its last valid access
   * token; undefined without either.
   */
  ofConnection(connection: object): Caller | undefined {
    for (const { caller } of this.#remembered.get(connection)?.values() ?? []) {
      if (caller !== ANONYMOUS) return caller;
    }
    return this.#users.get(connection);
  }

  #service(known: Known, head: CallHead): Caller | Promise<Caller> {
    const fresh = known.lookup.fresh();
    if (fresh !== undefined) return this.#judge(known, fresh.record, head);
    return known.lookup.find(tokenOf(head)).then(({ record }) => this.#judge(known, record, head));
  }

  /** Judges state and expiry at every call. The rest of a record is read once. */
  #judge(known: Known, record: KeyRecord | undefined, head: CallHead): Caller {
    const { databaseClock, usage, refusals, addresses } = this.#deps;
    if (record === undefined) throw unusable();
    const fault = databaseClock.judge((nowMs) => credentialFault(record, nowMs));
    if (fault !== undefined) {
      noteRefusedCredential(refusals, record.key.id, fault, addresses.of(head));
      throw unusable();
    }
    usage.used(record.key.id, databaseClock.nowMs());
    if (known.record !== record) {
      known.caller = { kind: "service", credentialId: record.key.id, scopes: credentialScopes(record.key) };
      known.record = record;
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
