import { createHash, hash } from "node:crypto";
import { readFileSync } from "node:fs";
import { type Clock, DAY_MS, MINUTE_MS } from "../lib/clock.ts";
import type { LimitDecision, LimitRequest, WindowStatus } from "../limits/limit.ts";
import type { LimitStore } from "../limits/limit-store.ts";
import type { RedisConnection } from "./connection.ts";
import { faultNamed, type RedisFault } from "./redis-fault.ts";
import { slotOf } from "./slot.ts";

export interface RedisLimitStoreDeps {
  readonly connection: RedisConnection;
  /** Only for tests that move time. Default: Redis' own clock, which all processes share. */
  readonly clock?: Clock;
}

const SCRIPT = readFileSync(new URL("./limit.lua", import.meta.url), "utf8");
const SCRIPT_SHA1 = createHash("sha1").update(SCRIPT).digest("hex");
/** The 1 is the version of the stored format, so that two versions of the service never read each other's windows. */
const KEY_PREFIX = "latchkey:limit:1:";
/** 24 characters of base64url are 144 bits: too many for an attacker to find two subjects that share windows. */
const DIGEST_LENGTH = 24;
const NONE = "-1";
const INT32_BYTES = 4;

/** The windows in Redis, decided by `limit.lua`. In a cluster a script runs in one slot, so each slot is a group. */
export class RedisLimitStore implements LimitStore {
  readonly #connection: RedisConnection;
  readonly #clock: Clock | undefined;

  constructor(deps: RedisLimitStoreDeps) {
    this.#connection = deps.connection;
    this.#clock = deps.clock;
  }

  partOf(subject: string): string {
    return this.#connection.isCluster ? this.#connection.nodeOf(slotOf(digestOf(subject))) : "";
  }

  groupOf(subject: string): string {
    return this.#connection.isCluster ? `${slotOf(digestOf(subject))}` : "";
  }

  async decide(requests: readonly LimitRequest[]): Promise<readonly LimitDecision[]> {
    const keys: string[] = [];
    const args: (string | number)[] = [this.#clock === undefined ? "" : Math.floor(this.#clock.nowMs())];
    for (const { subject, cost, limits, admitted, goesOn } of requests) {
      const digest = digestOf(subject);
      let terms = String(admitted ? -cost : cost);
      for (const { name, perMinute, perDay } of limits) {
        keys.push(keyOf(digest, name));
        terms += ` ${perMinute ?? NONE} ${perDay ?? NONE}`;
      }
      args.push(goesOn ? `${terms} +` : terms);
    }
    return decisionsOf(requests, await this.#evaluate(keys, args));
  }

  async reset(subject: string, names: readonly string[]): Promise<void> {
    const digest = digestOf(subject);
    await this.#connection.call(
      "del",
      ["", ...names].map((name) => keyOf(digest, name)),
    );
  }

  renew(part: string): void {
    this.#connection.renew(part);
  }

  /** Runs the script. A Redis that restarted no longer has it, and says so before it runs anything. */
  async #evaluate(keys: readonly string[], args: readonly (string | number)[]): Promise<unknown> {
    try {
      return await this.#connection.call("evalsha", [SCRIPT_SHA1, keys.length, ...keys, ...args]);
    } catch (error) {
      if ((error as RedisFault).code !== "NOSCRIPT") throw error;
      return this.#connection.call("eval", [SCRIPT, keys.length, ...keys, ...args]);
    }
  }
}

function digestOf(subject: string): string {
  return hash("sha256", subject, "base64url").slice(0, DIGEST_LENGTH);
}

/** The digest is the hash tag, so that all limits of a subject are in one slot. */
function keyOf(digest: string, name: string): string {
  return `${KEY_PREFIX}{${digest}}:${name}`;
}

/** Decodes the script's answer, which limit.lua describes. Any other reply is an error, not a decision. */
function decisionsOf(requests: readonly LimitRequest[], reply: unknown): LimitDecision[] {
  const length = requests.reduce((sum, { limits }) => sum + 2 + 4 * limits.length, 0);
  const answer = figuresOf(reply);
  if (answer.length !== length || answer.some((figure) => figure < -1)) {
    throw faultNamed("REPLY_NO_DECISION");
  }
  let at = 0;
  return requests.map(({ limits }) => {
    const allowed = answer[at] === 1;
    const waitMs = answer[at + 1]!;
    const windows: WindowStatus[] = [];
    at += 2;
    for (const { name, perMinute, perDay } of limits) {
      if (perMinute !== undefined) windows.push(statusOf(name, MINUTE_MS, perMinute, answer, at));
      if (perDay !== undefined) windows.push(statusOf(name, DAY_MS, perDay, answer, at + 2));
      at += 4;
    }
    return { allowed, retryAfterMs: allowed || waitMs < 0 ? undefined : waitMs, windows, degraded: false };
  });
}

/** The numbers of a reply; none if it is not a sequence of int32. */
function figuresOf(reply: unknown): Int32Array {
  if (!Buffer.isBuffer(reply) || reply.length % INT32_BYTES !== 0) return new Int32Array();
  return Int32Array.from({ length: reply.length / INT32_BYTES }, (_, at) => reply.readInt32LE(at * INT32_BYTES));
}

function statusOf(name: string, lengthMs: number, limit: number, answer: Int32Array, at: number): WindowStatus {
  return { name, lengthMs, limit, remaining: answer[at]!, resetAfterMs: answer[at + 1]! };
}
