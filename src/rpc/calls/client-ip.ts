import { compileNetworks } from "../../keys/allowed-ips.ts";
import { normalizeIp } from "../../lib/ip.ts";
import type { Log, WarnLine } from "../../lib/log.ts";
import type { CallHead } from "../call.ts";
import { FORWARDED_HEADERS, type ForwardedHeader, hopsOf } from "./forwarded.ts";

export interface ClientAddressesDeps {
  /** CIDR. */
  readonly trustedProxies: readonly string[];
  /** The only header that is read. Undefined: both are read, and must agree. */
  readonly forwardedHeader: ForwardedHeader | undefined;
  readonly log: Pick<Log, "warn">;
}

/** Maximum peers that get a log line with each of the two messages, so that clients can't fill the log. */
const MAX_PEERS_TOLD = 8;

const UNTRUSTED = "a forwarded address from an untrusted peer is ignored";
const DISAGREEING = "forwarded headers that disagree are ignored";

const ADVICE = {
  [UNTRUSTED]: "if it is your proxy, set LATCHKEY_TRUSTED_PROXIES to its network",
  [DISAGREEING]: "set LATCHKEY_FORWARDED_HEADER to the one that your proxy writes",
} satisfies Partial<Record<WarnLine, string>>;

/**
 * Finds the client's address. It starts with the connection's other end. As long as the address is a trusted proxy's,
 * it goes on to the hop before that proxy, from the right end of the header to the left. The client can make up
 * everything to the left of the first untrusted hop.
 *
 * A proxy writes one of the two headers, and passes on the other one as the client sent it. So if both come and
 * disagree, neither is believed (ADR 28).
 */
export class ClientAddresses {
  readonly #deps: ClientAddressesDeps;
  readonly #isTrusted: (address: string) => boolean;
  readonly #told = { [UNTRUSTED]: new Set<string>(), [DISAGREEING]: new Set<string>() };

  constructor(deps: ClientAddressesDeps) {
    this.#deps = deps;
    this.#isTrusted = compileNetworks(deps.trustedProxies);
  }

  of(head: Pick<CallHead, "header" | "peerAddress">): string {
    const peer = plain(head.peerAddress);
    const sent = FORWARDED_HEADERS.filter((name) => head.header(name).length > 0);
    if (sent.length === 0) return peer;
    if (!this.#isTrusted(peer)) {
      this.#warn(UNTRUSTED, peer, sent);
      return peer;
    }
    const { forwardedHeader } = this.#deps;
    const read = sent.filter((name) => forwardedHeader === undefined || name === forwardedHeader);
    const [address = peer, other = address] = read.map((name) => this.#clientOf(peer, hopsOf(name, head.header(name))));
    if (address === other) return address;
    this.#warn(DISAGREEING, peer, sent);
    return peer;
  }

  #clientOf(peer: string, hops: Iterable<string | undefined>): string {
    let address = peer;
    for (const hop of hops) {
      if (hop === undefined) break;
      address = hop;
      if (!this.#isTrusted(address)) break;
    }
    return address;
  }

  #warn(message: keyof typeof ADVICE, peer: string, headers: readonly string[]): void {
    const told = this.#told[message];
    if (told.size >= MAX_PEERS_TOLD || told.has(peer)) return;
    told.add(peer);
    const isLast = told.size === MAX_PEERS_TOLD || undefined;
    this.#deps.log.warn(message, {
      peer,
      headers: headers.join(" "),
      advice: ADVICE[message],
      last_such_line: isLast,
    });
  }
}

/** The address without the zone of a link-local peer. Empty for a closed socket, which has no peer. */
function plain(peerAddress: string): string {
  const address = peerAddress.replace(/%.*$/, "");
  return normalizeIp(address) ?? address;
}
