import { AUTH_MUTANTS } from "./mutants-auth.ts";
import { CHANGES_MUTANTS } from "./mutants-changes.ts";
import { CLIENT_MUTANTS } from "./mutants-client.ts";
import { COMMAND_MUTANTS } from "./mutants-command.ts";
import { ENVOY_MUTANTS } from "./mutants-envoy.ts";
import { EXPORT_MUTANTS } from "./mutants-export.ts";
import { HISTORY_MUTANTS } from "./mutants-history.ts";
import { KEYS_MUTANTS } from "./mutants-keys.ts";
import { LIMITS_MUTANTS } from "./mutants-limits.ts";
import { MANAGEMENT_MUTANTS } from "./mutants-management.ts";
import { NEAR_MUTANTS } from "./mutants-near.ts";
import { PEOPLE_ROWS_MUTANTS } from "./mutants-people-rows.ts";
import { POSTGRES_MUTANTS } from "./mutants-postgres.ts";
import { RATE_LIMITS_MUTANTS } from "./mutants-rate-limits.ts";
import { READS_MUTANTS } from "./mutants-reads.ts";
import { RECOVERY_MUTANTS } from "./mutants-recovery.ts";
import { REDIS_MUTANTS } from "./mutants-redis.ts";
import { REST_MUTANTS } from "./mutants-rest.ts";
import { RPC_MUTANTS } from "./mutants-rpc.ts";
import { SPANS_MUTANTS } from "./mutants-spans.ts";
import { THROTTLE_MUTANTS } from "./mutants-throttle.ts";
import { TOKENS_MUTANTS } from "./mutants-tokens.ts";
import { TRACES_MUTANTS } from "./mutants-traces.ts";
import { TURNS_MUTANTS } from "./mutants-turns.ts";
import { VERIFICATION_MUTANTS } from "./mutants-verification.ts";
import { WIRE_MUTANTS } from "./mutants-wire.ts";
import type { TestedMutant } from "./tested-mutant.ts";

/** All of them, those of one file beside each other. */
export const MUTANTS: readonly TestedMutant[] = [
  ...KEYS_MUTANTS,
  ...MANAGEMENT_MUTANTS,
  ...VERIFICATION_MUTANTS,
  ...TOKENS_MUTANTS,
  ...AUTH_MUTANTS,
  ...THROTTLE_MUTANTS,
  ...LIMITS_MUTANTS,
  ...REDIS_MUTANTS,
  ...RPC_MUTANTS,
  ...REST_MUTANTS,
  ...ENVOY_MUTANTS,
  ...CHANGES_MUTANTS,
  ...COMMAND_MUTANTS,
  ...EXPORT_MUTANTS,
  ...HISTORY_MUTANTS,
  ...POSTGRES_MUTANTS,
  ...WIRE_MUTANTS,
  ...PEOPLE_ROWS_MUTANTS,
  ...RECOVERY_MUTANTS,
  ...READS_MUTANTS,
  ...TURNS_MUTANTS,
  ...TRACES_MUTANTS,
  ...SPANS_MUTANTS,
  ...CLIENT_MUTANTS,
  ...NEAR_MUTANTS,
  ...RATE_LIMITS_MUTANTS,
];
