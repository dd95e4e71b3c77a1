import { Code, ConnectError } from "@connectrpc/connect";
import { LatchkeyCredentialError, LatchkeyRequestError, LatchkeyUnavailable } from "@latchkey/client";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "@latchkey/client/contract";
import { EXIT, type ExitCode } from "./exit-codes.ts";
import { cutTo, printable } from "./text.ts";
import { lengthText, msOf } from "./times.ts";

/**
 * An end of the command that is not its result: one line for people, and the exit code. The line repeats no argument.
 * It is empty where everything was said before.
 */
export class Fault extends Error {
  readonly exitCode: ExitCode;

  constructor(exitCode: ExitCode, message: string) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** The command line is wrong. @param message what it must be; it never repeats what was given */
export function usage(message: string): Fault {
  return new Fault(EXIT.USAGE, message);
}

/** The reader of standard output has gone, as `head` does. That is no fault. */
export class ReaderGone extends Error {}

/** The parts of the line of an error of a call. */
export interface Target {
  /** In words where it was an argument, which no error repeats. */
  readonly address: string;
  /** Where the credential came from, such as "LATCHKEY_CREDENTIAL"; undefined without one. */
  readonly credentialFrom: string | undefined;
}

/** A service may send longer texts, and a liar will. */
const MOST_COLUMNS = 300;
const INTERRUPTED = new Fault(EXIT.INTERRUPTED, "interrupted");
/** Codes of Node by which there is no connection to the service. */
const NO_CONNECTION =
  /^(ECONN\w+|E(HOST|NET)(UNREACH|DOWN)|ENOTFOUND|EAI_\w+|ETIMEDOUT|EPIPE|ERR_(SSL|TLS)_\w+|\w*CERT\w*|ERR_HTTP2_\w+|UNABLE_TO_\w+)$/;

/** The fault of any error that reached the top. */
export function faultOf(error: unknown, target: Target | undefined, isInterrupted: boolean): Fault {
  if (isInterrupted) return INTERRUPTED;
  if (error instanceof Fault) return error;
  if (error instanceof ConnectError && target !== undefined) return callFault(error, target);
  if (error instanceof LatchkeyCredentialError && error.cause !== undefined) {
    return faultOf(error.cause, target, isInterrupted);
  }
  if (error instanceof LatchkeyCredentialError) return new Fault(EXIT.DENIED, oneLine(error.message));
  if (error instanceof LatchkeyRequestError) return new Fault(EXIT.USAGE, oneLine(error.message));
  if (error instanceof LatchkeyUnavailable) return new Fault(EXIT.UNREACHABLE, oneLine(error.message));
  return new Fault(EXIT.FAILED, `an unexpected fault (${placeOf(error)}); please report it`);
}

function callFault(error: ConnectError, target: Target): Fault {
  const info = error.findDetails(ErrorInfoSchema)[0];
  const said = oneLine(error.rawMessage);
  switch (error.code) {
    case Code.InvalidArgument:
    case Code.OutOfRange:
      return new Fault(EXIT.USAGE, violationsOf(error) ?? said);
    case Code.Unauthenticated:
      return new Fault(EXIT.DENIED, refusalText(said, info?.reason, target));
    case Code.PermissionDenied:
      return new Fault(EXIT.DENIED, `${said} (the credential is from ${target.credentialFrom ?? "nowhere"})`);
    case Code.NotFound:
      return new Fault(EXIT.NOT_FOUND, `${said}; check the id with the verb \`list\``);
    case Code.DeadlineExceeded:
      return new Fault(EXIT.UNREACHABLE, `${target.address} did not answer in time; try again, or give --timeout 60s`);
    case Code.ResourceExhausted:
    case Code.Aborted:
    case Code.Unavailable:
    case Code.Unknown:
    case Code.Internal:
      if (info === undefined) return connectionFault(error, target);
      if (error.code === Code.Unavailable) return new Fault(EXIT.UNREACHABLE, `${said}; ${retryText(error)}`);
      return new Fault(EXIT.FAILED, hasRetry(error) ? `${said}; ${retryText(error)}` : said);
    case Code.Canceled:
      return connectionFault(error, target);
    case Code.Unimplemented:
      if (info === undefined) return connectionFault(error, target);
      return new Fault(
        EXIT.FAILED,
        `${target.address} does not know this call: its latchkey may be older than this command`,
      );
    default:
      return new Fault(EXIT.FAILED, said);
  }
}

/** An error without the service's own details: what answered, if anything did, is not latchkey. */
function connectionFault(error: ConnectError, { address }: Target): Fault {
  const code = nodeCodeOf(error);
  const reason = code === undefined ? "" : ` (${code})`;
  if (
    code === "ERR_HTTP2_ERROR" ||
    error.code === Code.Unimplemented ||
    (code === undefined && error.code === Code.Unknown)
  ) {
    return new Fault(EXIT.UNREACHABLE, `what answers at ${address} is not latchkey; check --address`);
  }
  return new Fault(
    EXIT.UNREACHABLE,
    `no latchkey answers at ${address}${reason}; start the service, or name it by --address or LATCHKEY_ADDRESS`,
  );
}

function nodeCodeOf(error: unknown): string | undefined {
  let at = error;
  for (let depth = 0; at instanceof Error && depth < 8; depth++) {
    const { code } = at as NodeJS.ErrnoException;
    if (typeof code === "string" && NO_CONNECTION.test(code)) return code;
    at = at.cause;
  }
  return undefined;
}

function refusalText(said: string, reason: string | undefined, { credentialFrom }: Target): string {
  if (reason !== undefined && reason !== "CREDENTIAL_INVALID" && reason !== "CREDENTIAL_MISSING") return said;
  if (credentialFrom === undefined) return `${said}; ${HOW_TO_AUTHENTICATE}`;
  return `the service refused the credential from ${credentialFrom}: it is wrong, expired or revoked`;
}

/** The advice for a call without a credential. */
export const HOW_TO_AUTHENTICATE =
  "set LATCHKEY_CREDENTIAL or LATCHKEY_CREDENTIAL_FILE, give --credential-file, or run: latchkey config set credential " +
  "(a service or an operator) or latchkey login (a person)";

function violationsOf(error: ConnectError): string | undefined {
  const violations = error.findDetails(BadRequestSchema).flatMap(({ fieldViolations }) => fieldViolations);
  if (violations.length === 0) return undefined;
  return oneLine(violations.map(({ field, description }) => `${field}: ${description}`).join("; "));
}

function hasRetry(error: ConnectError): boolean {
  return error.findDetails(RetryInfoSchema)[0]?.retryDelay !== undefined;
}

function retryText(error: ConnectError): string {
  const delay = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
  const ms = delay === undefined ? 0 : msOf(delay);
  return ms < 1000 ? "try again" : `try again in ${lengthText(ms)}`;
}

function oneLine(text: string): string {
  return cutTo(printable(text.replace(/\s*[\r\n]+\s*/g, " ")), MOST_COLUMNS);
}

/** Names the place in the command's code, and nothing of the data: the message of an error may quote an argument. */
function placeOf(error: unknown): string {
  if (!(error instanceof Error)) return typeof error;
  const [, file = "unknown place"] = /([\w-]+\.[jt]s:\d+)/.exec(error.stack ?? "") ?? [];
  const code = (error as NodeJS.ErrnoException).code;
  return `${[error.name, typeof code === "string" ? code : ""].filter(Boolean).join(" ")} at ${file}`;
}
