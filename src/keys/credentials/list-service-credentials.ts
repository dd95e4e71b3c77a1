import type { PagePosition } from "../../lib/page.ts";
import type { KeyPage } from "../key-store.ts";
import type { ListKeysDeps } from "../list-keys.ts";

/** Lists service credentials, newest first. @throws DATABASE_UNAVAILABLE */
export function listServiceCredentials(
  deps: ListKeysDeps,
  input: { readonly showEnded: boolean; readonly size: number; readonly after: PagePosition | undefined },
): Promise<KeyPage> {
  const filter = { kind: "service" as const, ownerId: undefined, showEnded: input.showEnded };
  return deps.store.list(filter, input.size, input.after);
}
