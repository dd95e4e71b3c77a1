import type { Reason } from "../src/lib/errors.ts";

const WAIT = "Try again after `retry_delay` of the RetryInfo.";
const RETRY = "Try again, with growing pauses.";

/** Advice to a caller for each reason: the last column of docs/ERRORS.md. A reason without a row does not compile. */
export const ERROR_ADVICE: Readonly<Record<Reason, string>> = {
  INVALID_FIELD: "Correct the fields that the BadRequest names. The same request fails again.",
  REQUEST_ID_REUSED: "Send a new request_id for a new request. Reuse one only to repeat the very same request.",
  MESSAGE_INVALID: "Generate the client from this version's proto/, and check what a JSON body or a timeout holds.",
  HTTP_PATH_NOT_FOUND:
    "Check the path with docs/REST.md: its spelling, no slash at the end, and the id percent-encoded.",
  HTTP_METHOD_NOT_ALLOWED: "Use a method of the header `Allow`.",
  HTTP_CONTENT_NOT_ALLOWED: "Send `content-type: application/json`, and the body without compression.",
  CREDENTIAL_MISSING: "Send `authorization: Bearer <access token or service credential>`.",
  CREDENTIAL_INVALID:
    "User: call Refresh, and Login if that fails. Service: get a credential that has not ended. It says nothing of the API key in the request.",
  LOGIN_FAILED: "Ask for e-mail address and password again. The answer never says which of them is wrong.",
  PASSWORD_WRONG: "Ask for the current password again.",
  REFRESH_TOKEN_INVALID: "Ask the user to log in. If they did not use another client, treat it as a possible theft.",
  RESET_TOKEN_INVALID: "Ask an operator for a new reset token.",
  ACCESS_DENIED: "Use a credential with the scope that README.md names for this method.",
  OWNER_NOT_ALLOWED: "Leave owner_id out, or use a service credential with the scope `manage`.",
  TIER_NOT_GRANTED: "Ask for a lower tier, or ask an operator to grant a higher one to the owner.",
  SCOPE_NOT_GRANTED: "Ask for fewer scopes, or ask an operator to grant more to the owner.",
  FIELD_NOT_ALLOWED: "Leave the field out, or use a service credential with the scope `manage`.",
  KEY_RESTRICTED: "Ask the service that issued or restricted the key to change it.",
  REGISTRATION_CLOSED: "Ask an operator for an account.",
  KEY_NOT_FOUND: "Check the key's id and whose credential you use. To judge a key, call VerifyKey.",
  USER_NOT_FOUND: "Check the user's id.",
  SESSION_NOT_FOUND: "List the sessions. This one may have ended.",
  SERVICE_CREDENTIAL_NOT_FOUND: "Check the id, or list the service credentials.",
  SIGNING_KEY_NOT_FOUND: "Check the kid, or list the signing keys.",
  HEALTH_SERVICE_NOT_FOUND:
    "Ask for a service that reflection lists, or for the empty name, which is the whole server.",
  EMAIL_TAKEN: "Log in, or register another address.",
  CERTIFICATE_NAME_TAKEN: "Take the name off the list of the other credential, or choose another name.",
  REQUEST_ID_USED: "Read the resource by the id in the metadata. If the secret was lost, rotate the key.",
  KEY_ENDED: "Issue a new key.",
  USER_DISABLED: "Ask an operator to enable the user.",
  LAST_ADMIN_CREDENTIAL: "Issue another credential with the scope `admin` first.",
  ETAG_MISMATCH: "Read the resource again, apply your change to what it is now, and send the new etag.",
  KEY_QUOTA_EXCEEDED: "Revoke keys that are no longer used. The QuotaFailure names the owner.",
  SECRET_QUOTA_EXCEEDED: "Wait until an older secret of the key expires, or rotate with overlap 0.",
  TOO_MANY_ATTEMPTS: WAIT,
  TOO_MANY_CHANGES: WAIT,
  OVERLOADED: `${WAIT} Have fewer calls in progress at a time.`,
  MESSAGE_TOO_LARGE: "Send less in one call, such as smaller batches.",
  DATABASE_UNAVAILABLE: `${RETRY} If it lasts, an operator looks at PostgreSQL. Never tell your caller that their key is bad.`,
  LIMITS_UNAVAILABLE: `${RETRY} If it lasts, an operator looks at Redis.`,
  MASTER_KEY_MISSING:
    "An operator adds the version to LATCHKEY_MASTER_KEYS. Trying again may reach a process that has it.",
  CONTENTION: RETRY,
  DEADLINE_EXCEEDED: "Try again with a longer deadline. Repeat IssueKey and RotateKey with the same request_id.",
  CANCELLED: "Nothing: your side ended the call. As with a deadline, it may have taken effect.",
  SHUTTING_DOWN: "Try again at once, on a new connection.",
  NOT_IMPLEMENTED: "Check the method's name, and that the client uses a supported protocol and compression.",
  INTERNAL: "Try again once. If it lasts, an operator finds the log line `call failed` and reports it as a bug.",
};
