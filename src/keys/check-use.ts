import { invalidFields, type Violation } from "../lib/errors.ts";
import { normalizeIp } from "../lib/ip.ts";
import { scopeFault } from "../lib/scope.ts";
import { textViolation } from "../lib/text.ts";
import type { NamedLimit } from "../limits/limit.ts";
import type { KeyUse } from "./judge-key.ts";
import { limitViolations } from "./limit-requests.ts";

/** One request for a verdict. */
export interface VerifyKeyInput extends KeyUse {
  /** The text that the caller presented; any text at all. */
  readonly rawKey: string;
  /** 0 reads the limits without counting. */
  readonly cost: number;
  /** Limits that the calling service adds to the key's own. */
  readonly limits: readonly NamedLimit[];
  /** If not empty, keys of another environment are invalid. */
  readonly environment: string;
}

const MAX_METHOD_LENGTH = 1024;
/** Maximum required scopes, and maximum allowed tiers, of one request. */
const MAX_LIST = 64;
/** Maximum length of a tier or an environment in a request; configured ones are shorter. */
const MAX_WORD_LENGTH = 64;

/** Checks what the calling service sent, whatever the key is. @throws INVALID_FIELD that names every fault */
export function checkUse(input: VerifyKeyInput): void {
  const faults: Violation[] = limitViolations(input.cost, input.limits);
  if (input.clientIp !== "" && normalizeIp(input.clientIp) === undefined) {
    faults.push({ field: "client_ip", description: "must be an IPv4 or IPv6 address without a zone" });
  }
  addText(faults, "method", input.method, MAX_METHOD_LENGTH);
  if (input.requiredScopes.length > MAX_LIST) {
    faults.push({ field: "required_scopes", description: `must have at most ${MAX_LIST} entries` });
  } else {
    for (const [index, scope] of input.requiredScopes.entries()) {
      const description = scopeFault(scope);
      if (description !== undefined) faults.push({ field: `required_scopes[${index}]`, description });
    }
  }
  if (input.allowedTiers.length > MAX_LIST) {
    faults.push({ field: "allowed_tiers", description: `must have at most ${MAX_LIST} entries` });
  } else {
    input.allowedTiers.forEach((tier, index) => {
      addText(faults, `allowed_tiers[${index}]`, tier, MAX_WORD_LENGTH);
    });
  }
  addText(faults, "environment", input.environment, MAX_WORD_LENGTH);
  if (faults.length > 0) throw invalidFields(faults);
}

function addText(faults: Violation[], field: string, text: string, max: number): void {
  if (text === "") return;
  const violation = textViolation(field, text, { min: 1, max });
  if (violation !== undefined) faults.push(violation);
}
