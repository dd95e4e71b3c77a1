import {
  type ByRequest,
  type Guard,
  type KeyNeeds,
  type Protector,
  protectByKey,
  protectByLimit,
  protectByUser,
} from "./protect.ts";
import type { NamedLimit } from "./verdict.ts";

export interface ApiKeyOptions<R> {
  /** Scopes that the key must have: all of them. */
  readonly scopes?: ByRequest<R, readonly string[]> | undefined;
  /** Tiers of which the key must have one. */
  readonly tiers?: readonly string[] | undefined;
  /** The cost of the request; 1 if absent. */
  readonly cost?: ByRequest<R, number> | undefined;
  /** Further limits of this route, counted for each key. */
  readonly limits?: ByRequest<R, readonly NamedLimit[]> | undefined;
  /** In place of `GET /path`, or of a gRPC method's full name. */
  readonly method?: ByRequest<R, string> | undefined;
  /** Keys of another environment are refused. */
  readonly environment?: string | undefined;
  /** `realm` of the challenge in a refusal. Default "api". */
  readonly realm?: string | undefined;
}

export interface RateLimitOptions<R> {
  /** The subject that is counted: an address, a user's id. */
  readonly subject: (request: R) => string | Promise<string>;
  /** The limit's name: 1 to 64 characters of a-z, 0-9, ".", "_", "/" and "-". */
  readonly name: string;
  readonly perMinute?: number | undefined;
  readonly perDay?: number | undefined;
  /** The cost of the request; 1 if absent. */
  readonly cost?: ByRequest<R, number> | undefined;
}

export interface UserOptions {
  /** `realm` of the challenge in a refusal. Default "api". */
  readonly realm?: string | undefined;
}

/** A guard with the realm of its refusals. */
export interface RealmGuard<R> {
  readonly guard: Guard<R>;
  readonly realm: string;
  /** The address, if the framework has none of its own. */
  readonly address?: ((request: R) => string | undefined) | undefined;
}

const DEFAULT_REALM = "api";
const REALM = /^[\x20-\x7e]{1,128}$/;

/** @throws TypeError with the name of an option that is wrong */
export function apiKeyGuard<R>(latchkey: Protector, options: ApiKeyOptions<R> = {}): RealmGuard<R> {
  const fault = faultOf("requireApiKey");
  checkLatchkey(latchkey, fault);
  checkNames(options, ["scopes", "tiers", "cost", "limits", "method", "environment", "realm"], fault);
  for (const name of ["scopes", "limits"] as const)
    check(name, options[name], isListOrFunction, "a list or a function", fault);
  check("tiers", options.tiers, Array.isArray, "a list", fault);
  check("cost", options.cost, isCostOrFunction, "a whole number or a function", fault);
  check("method", options.method, isTextOrFunction, "a text or a function", fault);
  check("environment", options.environment, isText, "a text", fault);
  const { tiers, environment } = options;
  return {
    realm: realmOf(options, fault),
    guard: async (request, facts, earlier) => {
      const needs: KeyNeeds = {
        tiers,
        environment,
        scopes: await valueFor(request, options.scopes),
        cost: await valueFor(request, options.cost),
        limits: await valueFor(request, options.limits),
        method: await valueFor(request, options.method),
      };
      return protectByKey(latchkey, facts, needs, earlier);
    },
  };
}

/** @throws TypeError with the name of an option that is wrong */
export function rateLimitGuard<R>(latchkey: Protector, options: RateLimitOptions<R>): RealmGuard<R> {
  const fault = faultOf("rateLimit");
  checkLatchkey(latchkey, fault);
  checkNames(options, ["subject", "name", "perMinute", "perDay", "cost"], fault);
  if (typeof options?.subject !== "function") throw fault("subject", "must be a function of the request");
  const { name, perMinute, perDay } = options;
  if (typeof name !== "string" || !/^[a-z0-9._/-]{1,64}$/.test(name)) {
    throw fault("name", "must be 1 to 64 characters of a-z, 0-9, '.', '_', '/' and '-'");
  }
  if (perMinute === undefined && perDay === undefined) throw fault("perMinute", "or `perDay` must be given");
  check("perMinute", perMinute, isCost, "a whole number", fault);
  check("perDay", perDay, isCost, "a whole number", fault);
  check("cost", options.cost, isCostOrFunction, "a whole number or a function", fault);
  return {
    realm: DEFAULT_REALM,
    guard: async (request, _facts, earlier) => {
      const subject = await options.subject(request);
      const cost = await valueFor(request, options.cost);
      return protectByLimit(latchkey, { subject, limit: { name, perMinute, perDay }, cost }, earlier);
    },
  };
}

/** @throws TypeError with the name of an option that is wrong */
export function userGuard<R>(latchkey: Protector, options: UserOptions = {}): RealmGuard<R> {
  const fault = faultOf("requireUser");
  checkLatchkey(latchkey, fault);
  checkNames(options, ["realm"], fault);
  return {
    realm: realmOf(options, fault),
    guard: (_request, facts, earlier) => protectByUser(latchkey, facts, earlier),
  };
}

type Fault = (name: string, advice: string) => TypeError;

function faultOf(guard: string): Fault {
  return (name, advice) => new TypeError(`${guard}: \`${name}\` ${advice}`);
}

function checkLatchkey(latchkey: Protector, fault: Fault): void {
  if (typeof latchkey?.verify === "function") return;
  throw fault("latchkey", "must be what createLatchkey or fakeLatchkey returns");
}

function checkNames(options: object, known: readonly string[], fault: Fault): void {
  if (typeof options !== "object" || options === null) throw fault("options", "must be an object");
  const [other] = Object.keys(options).filter((name) => !known.includes(name));
  if (other !== undefined) throw fault(other, `is no option; there are ${known.join(", ")}`);
}

function check(name: string, value: unknown, isRight: (value: unknown) => boolean, what: string, fault: Fault): void {
  if (value !== undefined && !isRight(value)) throw fault(name, `must be ${what}`);
}

function realmOf({ realm = DEFAULT_REALM }: { realm?: string | undefined }, fault: Fault): string {
  if (typeof realm !== "string" || !REALM.test(realm))
    throw fault("realm", "must be 1 to 128 printable ASCII characters");
  return realm;
}

async function valueFor<R, T>(request: R, value: ByRequest<R, T> | undefined): Promise<T | undefined> {
  return typeof value === "function" ? (value as (request: R) => T | Promise<T>)(request) : value;
}

function isText(value: unknown): boolean {
  return typeof value === "string";
}

function isCost(value: unknown): boolean {
  return Number.isInteger(value) && (value as number) >= 0;
}

function isListOrFunction(value: unknown): boolean {
  return Array.isArray(value) || typeof value === "function";
}

function isCostOrFunction(value: unknown): boolean {
  return isCost(value) || typeof value === "function";
}

function isTextOrFunction(value: unknown): boolean {
  return isText(value) || typeof value === "function";
}
