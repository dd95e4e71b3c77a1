import { type Client, createClient, type Transport } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { type CredentialSource, createLatchkey, type Latchkey } from "@latchkey/client";
import { AuthService, Health } from "@latchkey/client/contract";
import { Http2Sessions } from "@latchkey/client/http2-sessions";
import { EXIT } from "./exit-codes.ts";
import { Fault, HOW_TO_AUTHENTICATE } from "./faults.ts";
import { PersonSession, type SessionPlace } from "./person-session.ts";
import type { Settings } from "./settings.ts";

/** The exchange of a refresh token holds a lock, so it must end. */
const REFRESH_MS = 8000;

/** The calls of one command. Nothing connects before the first call. */
export class Connection implements AsyncDisposable {
  readonly #settings: Settings;
  readonly #nowMs: () => number;
  #session: PersonSession | undefined;
  #latchkey: Latchkey | undefined;
  #sessions: Http2Sessions | undefined;

  constructor(settings: Settings, nowMs: () => number) {
    this.#settings = settings;
    this.#nowMs = nowMs;
  }

  /** The client, with the credential. @throws Fault without a credential */
  get latchkey(): Latchkey {
    const { address, credential } = this.#settings;
    if (credential === undefined) throw new Fault(EXIT.DENIED, `there is no credential; ${HOW_TO_AUTHENTICATE}`);
    this.#latchkey ??= createLatchkey({
      baseUrl: address,
      credential: this.#source(credential.source),
      accessTokens: false,
    });
    return this.#latchkey;
  }

  /** The calls of people that take no credential, such as Login. */
  get anonymous(): Client<typeof AuthService> {
    return createClient(AuthService, this.#transport());
  }

  get health(): Client<typeof Health> {
    return createClient(Health, this.#transport());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#session?.settled();
    this.#sessions?.abort();
    await this.#latchkey?.close();
  }

  #source(source: string | SessionPlace): CredentialSource {
    if (typeof source === "string") return source;
    const refresh = (refreshToken: string) => this.anonymous.refresh({ refreshToken }, { timeoutMs: REFRESH_MS });
    const session = new PersonSession({ ...source, refresh, nowMs: this.#nowMs });
    this.#session = session;
    return () => session.accessToken();
  }

  #transport(): Transport {
    const baseUrl = this.#settings.address;
    this.#sessions ??= new Http2Sessions(baseUrl);
    return createGrpcTransport({ baseUrl, sessionManager: this.#sessions });
  }
}
