import { compileNetworks } from "../../keys/allowed-ips.ts";
import { normalizeIp } from "../../lib/ip.ts";
import type { Log } from "../../lib/log.ts";
import type { CallHead } from "../call.ts";
import { FORWARDED_HEADERS, type ForwardedHeader, hopsOf } from "./forwarded.ts";

export interface ClientAddressesDeps {
  /** CIDR. */
  readonly trustedProxies: readonly string[];
  /** The only header that is read. Undefined: both are read, and must agree. */
  readonly forwardedHeader: ForwardedHeader | undefined;
  readonly log: Pick<Log, "warn">;
}

/** Maximum peers of each kind that get a log line, because more would be a way to fill the log. */
const MAX_PEERS_TOLD = 8;

/**
 * Finds the client's address: the connection's other end, or, as long as that is a trusted proxy, the hop before it, read
 * from the right. Everything left of the first untrusted hop can be made up by the client.
 *
 * A proxy writes one of the two headers and passes a client's other one on. So if both come and disagree, neither is
 * believed (ADR 28).
 */
export class ClientAddresses {
  readonly #deps: ClientAddressesDeps;
  readonly #isTrusted: (address: string) => boolean;
  readonly #told = { untrusted: new Set<string>(), disagreeing: new Set<string>() };

  constructor(deps: ClientAddressesDeps) {
    this.#deps = deps;
    this.#isTrusted = compileNetworks(deps.trustedProxies);
  }

  of(head: Pick<CallHead, "header" | "peerAddress">): string {
    const peer = plain(head.peerAddress);
    const sent = FORWARDED_HEADERS.filter((name) => head.header(name).length > 0);
    if (sent.length === 0) return peer;
    if (!this.#isTrusted(peer)) {
      this.#warn("untrusted", peer, `${sent.join(" and ")} of an untrusted address is ignored; ${IF_A_PROXY}`);
      return peer;
    }
    const { forwardedHeader } = this.#deps;
    const read = sent.filter((name) => forwardedHeader === undefined || name === forwardedHeader);
    const [address = peer, other = address] = read.map((name) => this.#clientOf(peer, hopsOf(name, head.header(name))));
    if (address === other) return address;
    this.#warn("disagreeing", peer, `a proxy's ${sent.join(" and ")} disagree and are ignored; ${WHICH_HEADER}`);
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

  #warn(kind: "untrusted" | "disagreeing", peer: string, message: string): void {
    const told = this.#told[kind];
    if (told.size >= MAX_PEERS_TOLD || told.has(peer)) return;
    told.add(peer);
    this.#deps.log.warn(message, { peer, last_such_line: told.size === MAX_PEERS_TOLD || undefined });
  }
}

const IF_A_PROXY = "if it is your proxy, set LATCHKEY_TRUSTED_PROXIES to its network";
const WHICH_HEADER = "set LATCHKEY_FORWARDED_HEADER to the one that your proxy writes";

/** The address without the zone of a link-local peer. Empty for a closed socket, which has no peer. */
function plain(peerAddress: string): string {
  const address = peerAddress.replace(/%.*$/, "");
  return normalizeIp(address) ?? address;
}
