import { Command, CommanderError, Option } from "commander";
import { EXIT, type ExitCode } from "./exit-codes.ts";
import { faultOf, ReaderGone, usage } from "./faults.ts";
import { dashed, type Flags } from "./flags.ts";
import { GLOBAL_FLAGS, globalFlagsOf } from "./global-flags.ts";
import { Invocation } from "./invocation.ts";
import { NOUNS } from "./nouns.ts";
import { writeResult } from "./output.ts";
import { Progress } from "./progress.ts";
import { confirmed } from "./prompts.ts";
import { refuseArguments } from "./refused-arguments.ts";
import { columnsOf, hasColour, type Io } from "./terminal.ts";
import { usageFault } from "./usage-fault.ts";
import type { Input, Noun, Verb } from "./verb.ts";
import { version } from "./version.ts";

const ABOUT = [
  "Operates a latchkey service: API keys, people, service credentials, limits and the audit trail.\n\n",
  "The service and the credential come from flags, else from LATCHKEY_ADDRESS, LATCHKEY_CREDENTIAL and ",
  "LATCHKEY_CREDENTIAL_FILE, else from the profile (latchkey config --help).",
].join("");
const ALSO = `Flags of every command, as latchkey --help explains:
  --address --credential-file --profile --timeout --json --jsonl --quiet --yes`;
const EXIT_CODES = `Exit codes:
  0    done
  1    a refused key, or another error
  2    wrong usage
  3    the service is unreachable
  4    no credential, or a refused one
  5    not found
  130  interrupted`;

/**
 * Runs one command line to its end, and writes everything that it has to say. It never rejects.
 *
 * @param args without the program's own name
 * @returns the exit code
 */
export async function run(args: readonly string[], io: Io): Promise<ExitCode> {
  const ran: { invocation?: Invocation; exitCode: ExitCode } = { exitCode: EXIT.OK };
  const perform = async (verb: Verb, input: Input<Flags>, given: Record<string, unknown>): Promise<void> => {
    using progress = new Progress(io, "waiting for the service");
    await using invocation = new Invocation(io, globalFlagsOf(given), progress);
    ran.invocation = invocation;
    const question = verb.question?.(input);
    if (question !== undefined) await confirmed(question, invocation.flags.yes, io);
    progress.resume();
    const result = await verb.run(invocation, input);
    await writeResult(result, invocation.flags.format, io, progress);
    if (result.kind === "answer") ran.exitCode = result.exitCode ?? EXIT.OK;
  };
  try {
    refuseArguments(args);
    await programOf(io, perform).parseAsync([...args], { from: "user" });
    return ran.exitCode;
  } catch (error) {
    if (error instanceof ReaderGone) return EXIT.OK;
    if (error instanceof CommanderError && error.exitCode === 0) return EXIT.OK;
    const fault = faultOf(error, ran.invocation?.target, io.signal.aborted);
    if (fault.message !== "") io.stderr.write(`latchkey: ${fault.message}\n`);
    return fault.exitCode;
  }
}

type Perform = (verb: Verb, input: Input<Flags>, given: Record<string, unknown>) => Promise<void>;

/** The whole command line, made from the definitions of the verbs. */
export function programOf(io: Io, perform: Perform): Command {
  const program = new Command("latchkey")
    .helpCommand("help [command]", "show the help of a command")
    .description(ABOUT)
    .version(version(), "-V, --version", "the version");
  configure(program, io);
  for (const [name, flag] of Object.entries(GLOBAL_FLAGS)) program.addOption(optionOf(name, flag));
  program.addHelpText("after", `\n${EXIT_CODES}\n`);
  for (const entry of NOUNS) {
    if ("verbs" in entry) addNoun(program, entry, io, perform);
    else addVerb(program, entry, io, perform);
  }
  return program;
}

function addNoun(program: Command, noun: Noun, io: Io, perform: Perform): void {
  const command = program.command(noun.name).description(noun.about).helpCommand(false);
  configure(command, io);
  for (const verb of noun.verbs) addVerb(command, verb, io, perform);
}

function addVerb(parent: Command, verb: Verb, io: Io, perform: Perform): void {
  const { name, about, more, examples, args = [], flags } = verb;
  const command = parent.command(name).summary(about).description(sentences(about, more));
  configure(command, io);
  for (const arg of args) command.argument(usageOf(arg.name, arg.isOptional), arg.about);
  for (const [flagName, flag] of Object.entries(flags)) command.addOption(optionOf(flagName, flag));
  const lines = examples.map((line) => `  ${line.includes("latchkey ") ? line : `latchkey ${line}`}\n`);
  command.addHelpText("after", `\n${ALSO}\n\nExamples:\n${lines.join("")}`);
  command.action(async () => {
    const given = command.optsWithGlobals();
    const args = command.processedArgs.filter((arg): arg is string => typeof arg === "string");
    await perform(verb, { args, flags: readFlags(flags, given, io.nowMs()) }, given);
  });
}

/** Settings that commander does not inherit in full. */
function configure(command: Command, io: Io): void {
  command
    .configureOutput({
      writeOut: (text) => void io.stdout.write(text),
      writeErr: (text) => void io.stderr.write(text),
      // Commander's own errors repeat arguments, and one may be a secret. `run` writes another line.
      outputError: () => {},
      getOutHelpWidth: () => columnsOf(io.stdout) ?? 100,
      getErrHelpWidth: () => columnsOf(io.stderr) ?? 100,
      getOutHasColors: () => hasColour(io, io.stdout),
      getErrHasColors: () => hasColour(io, io.stderr),
    })
    .configureHelp({ subcommandTerm: termOf })
    .helpOption("-h, --help", "show this help")
    .exitOverride((error) => {
      throw error.exitCode === 0 ? error : usageFault(error, command);
    });
}

/** A command in a list of commands: its name and arguments. Each has flags, so "[options]" would say nothing. */
function termOf(command: Command): string {
  return [command.name(), ...command.registeredArguments.map((arg) => usageOf(arg.name(), !arg.required))].join(" ");
}

/** One sentence has no full stop, several have. */
function sentences(about: string, more: string | undefined): string {
  return more === undefined ? about : `${about}. ${more.replace(/\.$/, "")}.`;
}

function usageOf(argument: string, isOptional: boolean | undefined): string {
  return isOptional ? `[${argument}]` : `<${argument}>`;
}

function optionOf(name: string, { placeholder, about, isRequired }: Flags[string]): Option {
  if (placeholder === undefined) return new Option(dashed(name), about);
  const option = new Option(`${dashed(name)} <${placeholder}>`, isRequired ? `${about} (required)` : about);
  return option.argParser((text, texts: readonly string[] = []) => [...texts, text]);
}

function readFlags(flags: Flags, given: Record<string, unknown>, nowMs: number): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const [name, flag] of Object.entries(flags)) {
    const texts = given[name];
    if (texts === undefined) {
      if (flag.isRequired) throw usage(`${dashed(name)} is needed: ${flag.about}`);
      continue;
    }
    const reading = flag.read(Array.isArray(texts) ? texts : [], nowMs);
    if ("must" in reading) throw usage(`${dashed(name)} must ${reading.must}`);
    values[name] = reading.value;
  }
  return values;
}
