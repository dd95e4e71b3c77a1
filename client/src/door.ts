import {
  type ApiKeyOptions,
  apiKeyGuard,
  type RateLimitOptions,
  type RealmGuard,
  rateLimitGuard,
  type UserOptions,
  userGuard,
} from "./guards.ts";
import type { Protector } from "./protect.ts";

/** Declared as a method, so that a class method may name narrower types for its arguments. */
interface Taking<Args extends unknown[]> {
  run(this: never, ...args: Args): unknown;
}

/** A standard decorator (TC39) of class methods that take a framework's arguments, or fewer. */
export type MethodDecorator<Args extends unknown[]> = <F extends Taking<Args>["run"]>(
  value: F,
  context: ClassMethodDecoratorContext,
) => F;

/** Makes the middleware of one framework, and with `method` the decorator. */
export interface Maker<Options extends readonly unknown[], M, Args extends unknown[]> {
  (latchkey: Protector, ...options: Options): M;
  /** Decorates a method of a class that has this framework's arguments. */
  method(latchkey: Protector, ...options: Options): MethodDecorator<Args>;
}

/** The exports of each framework. */
export interface Door<R, M, Args extends unknown[], O = ApiKeyOptions<R>> {
  readonly requireApiKey: Maker<[options?: O], M, Args>;
  readonly rateLimit: Maker<[options: RateLimitOptions<R>], M, Args>;
  readonly requireUser: Maker<[options?: UserOptions], M, Args>;
}

/** The parts that differ between frameworks. */
export interface DoorParts<R, M, Args extends unknown[]> {
  middleware(guard: RealmGuard<R>): M;
  /** Runs a method if the guard admits the request that its arguments are about; else answers. */
  around(guard: RealmGuard<R>, args: Args, run: () => unknown): unknown;
  /** The method in place of the decorated one, where a plain function does not do. */
  wrap?(guard: RealmGuard<R>, value: (...args: Args) => unknown): ((...args: Args) => unknown) | undefined;
}

/** @param keyGuard reads the options of requireApiKey, where a framework has more of them */
export function doorOf<R, M, Args extends unknown[], O extends ApiKeyOptions<R> = ApiKeyOptions<R>>(
  parts: DoorParts<R, M, Args>,
  keyGuard: (latchkey: Protector, options?: O) => RealmGuard<R> = apiKeyGuard,
): Door<R, M, Args, O> {
  const maker = <Options extends readonly unknown[]>(
    guardOf: (latchkey: Protector, ...options: Options) => RealmGuard<R>,
  ): Maker<Options, M, Args> =>
    Object.assign((latchkey: Protector, ...options: Options) => parts.middleware(guardOf(latchkey, ...options)), {
      method: (latchkey: Protector, ...options: Options) => decorator(parts, guardOf(latchkey, ...options)),
    });
  return {
    requireApiKey: maker<[options?: O]>(keyGuard),
    rateLimit: maker<[options: RateLimitOptions<R>]>(rateLimitGuard),
    requireUser: maker<[options?: UserOptions]>(userGuard),
  };
}

function decorator<R, M, Args extends unknown[]>(
  parts: DoorParts<R, M, Args>,
  guard: RealmGuard<R>,
): MethodDecorator<Args> {
  return <F extends Taking<Args>["run"]>(value: F, context: ClassMethodDecoratorContext): F => {
    if (typeof value !== "function" || context?.kind !== "method") {
      throw new TypeError(
        "a decorator of @latchkey/client stands on class methods, and is a standard one: compile without experimentalDecorators",
      );
    }
    const run = value as unknown as (this: unknown, ...args: Args) => unknown;
    function guarded(this: unknown, ...args: Args): unknown {
      return parts.around(guard, args, () => run.apply(this, args));
    }
    return (parts.wrap?.(guard, run) ?? guarded) as unknown as F;
  };
}
