import { audit } from "./nouns/audit.ts";
import { completionOf } from "./nouns/completion.ts";
import { config } from "./nouns/config.ts";
import { keys } from "./nouns/keys.ts";
import { limits } from "./nouns/limits.ts";
import { login, logout, whoami } from "./nouns/person.ts";
import { bootstrap, demo, masterKeys, migrate } from "./nouns/service-scripts.ts";
import { services } from "./nouns/services.ts";
import { signingKeys } from "./nouns/signing-keys.ts";
import { status } from "./nouns/status.ts";
import { users } from "./nouns/users.ts";
import { watch } from "./nouns/watch.ts";
import type { Noun, Verb } from "./verb.ts";

/** Everything that the command can do, in the order of its help. */
export const NOUNS: readonly (Noun | Verb)[] = [
  ...[keys, limits, users, services, signingKeys, audit],
  ...[login, logout, whoami],
  ...[watch, status, config],
  ...[bootstrap, migrate, masterKeys, demo],
  completionOf(() => NOUNS),
];
