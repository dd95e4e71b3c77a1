import { usage } from "./faults.ts";
import { hasControls } from "./text.ts";

/** The forms of secrets, anywhere in an argument: keys and credentials of latchkey, and JWTs. */
const SECRETS = [/[a-z][a-z0-9]{0,15}_[a-z][a-z0-9]{0,15}_[0-9A-Za-z]{40,}/, /eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}/];
/** Flags that people try, with what to do instead. */
const SECRET_FLAGS: ReadonlyMap<string, string> = new Map([
  ["--credential", "use --credential-file, LATCHKEY_CREDENTIAL, or: latchkey config set credential"],
  ["--api-key", "write the key to standard input"],
  ["--key", "write the key to standard input"],
  ["--secret", "write it to standard input"],
  ["--password", "it is asked for, or read from standard input"],
  ["--token", "use --credential-file, LATCHKEY_CREDENTIAL, or: latchkey config set credential"],
]);

/**
 * Refuses arguments that no verb takes. Other users can read the arguments of a process, and shells keep them, so a
 * secret among them must be replaced. Control characters would reach the terminal of people who read them later.
 *
 * @throws Fault that repeats no argument
 */
export function refuseArguments(args: readonly string[]): void {
  for (const arg of args) {
    const instead = SECRET_FLAGS.get(arg.split("=", 1)[0]!);
    if (instead !== undefined) throw usage(`secrets are never arguments; ${instead}`);
  }
  if (args.some((arg) => SECRETS.some((secret) => secret.test(arg)))) {
    throw usage("an argument looks like a secret; others can read arguments, so replace it and use standard input");
  }
  if (args.some(hasControls)) throw usage("an argument has control characters");
}
