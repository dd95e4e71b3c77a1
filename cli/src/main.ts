/**
 * THE COMMAND. `latchkey`, for people who operate the service: each verb is one definition (verb.ts), from which its
 * parsing, help, completion and tests come. A verb calls the service by @latchkey/client and returns a result
 * (result.ts), which knows nothing of how it is shown.
 *
 *   main.ts               the process: arguments, streams, SIGINT, the exit code
 *   program.ts            from a command line to an exit code; makes commander's program from the verbs
 *   nouns.ts              the list of all nouns and verbs
 *   nouns/                one file for each noun, or for each verb without one
 *   verb.ts               the definition of a verb
 *   flags.ts              the kinds of flags, and how their texts are read
 *   global-flags.ts       the flags of every verb
 *   completion/           command-tree.ts: what can be completed; bash.ts, zsh.ts, fish.ts: a script for each shell
 *   invocation.ts         one run of a verb: what it may ask of the service, of the person and of the process
 *   settings.ts           address and credential: flags, then the environment, then the profile
 *   profiles.ts           the file of profiles
 *   file-lock.ts          one writer of that file at a time
 *   person-session.ts     the session of a person, whose tokens are in the profile
 *   connection.ts         the client of the service
 *   refused-arguments.ts  secrets and control characters as arguments
 *   usage-fault.ts        commander's errors, without the arguments that they repeat
 *   faults.ts             errors as one line, and their exit codes
 *   exit-codes.ts         the exit codes
 *   result.ts             what a verb found: an answer, a list, a stream
 *   output.ts             writes a result: for people, --json, --jsonl, --quiet
 *   table.ts, styles.ts   tables and fields, as wide as the terminal; colours
 *   key-view.ts           how keys and their limits are shown
 *   user-view.ts          how people are shown
 *   tail-audit.ts         the audit trail as it grows
 *   outage.ts             goes on after a failure that passes
 *   text.ts, times.ts     texts that can't write to a terminal; times as people say them
 *   prompts.ts            questions, and secrets without echo
 *   progress.ts           what is waited for, after 2 s
 *   terminal.ts           the streams, and what they can show
 *   version.ts            the command's own version
 */
import { EXIT } from "./exit-codes.ts";
import { run } from "./program.ts";

const interrupted = new AbortController();
process.on("SIGINT", () => {
  // The second one does not wait for anything.
  if (interrupted.signal.aborted) process.exit(EXIT.INTERRUPTED);
  interrupted.abort();
});
// The write that fails tells of a reader that has closed the pipe, as `head` does. Without a listener, the process
// would end with a stack trace.
process.stdout.on("error", () => {});
process.stderr.on("error", () => {});

process.exitCode = await run(process.argv.slice(2), {
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  nowMs: Date.now,
  signal: interrupted.signal,
});
// Standard input may still be open, as a terminal is.
process.stdin.unref?.();
