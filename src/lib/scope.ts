const SCOPE = /^[\x21-\x7e]{1,128}$/;

/** The fault of a scope's form, or undefined. A glob of scopes has the same form. */
export function scopeFault(scope: string): string | undefined {
  return SCOPE.test(scope) ? undefined : "must be 1 to 128 visible ASCII characters without spaces";
}
