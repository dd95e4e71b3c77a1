/**
 * WHO DID WHAT. For now only the who: a user acting on what is his, or a service or operator with a credential.
 */
export type Actor =
  | { readonly kind: "user"; readonly id: string }
  /** `manages` is true for the scopes `manage` and `admin`: keys of any owner. */
  | { readonly kind: "service"; readonly id: string; readonly manages: boolean };
