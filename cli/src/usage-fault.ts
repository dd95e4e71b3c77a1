import type { Command, CommanderError } from "commander";
import { type Fault, usage } from "./faults.ts";

/**
 * The fault for an error of commander, without the arguments that commander repeats. Its suggestions are names of ours,
 * and stay.
 */
export function usageFault(error: CommanderError, command: Command): Fault {
  const line = lineOf(command);
  const help = `see: ${line} --help`;
  const [suggestion = ""] = /\(Did you mean [\w ,-]+\?\)$/.exec(error.message) ?? [];
  const meant = suggestion === "" ? "" : ` ${suggestion}`;
  switch (error.code) {
    case "commander.unknownCommand":
      return usage(`there is no such command${meant}; ${help}`);
    case "commander.unknownOption":
      return usage(`there is no such flag${meant}; ${help}`);
    case "commander.missingArgument":
      return usage(`it needs ${argumentsOf(command)}; ${help}`);
    case "commander.optionMissingArgument":
      return usage(`a flag has no value; ${help}`);
    case "commander.excessArguments":
      return usage(`there are too many arguments; ${help}`);
    case "commander.help":
      return usage(`a command is needed; ${help}`);
    default:
      return usage(`the command line is wrong; ${help}`);
  }
}

function lineOf(command: Command): string {
  return command.parent === null ? command.name() : `${lineOf(command.parent)} ${command.name()}`;
}

function argumentsOf(command: Command): string {
  return command.registeredArguments.map((argument) => argument.name()).join(" and ");
}
