import { bashCompletion } from "../completion/bash.ts";
import { type CommandTree, commandTree } from "../completion/command-tree.ts";
import { fishCompletion } from "../completion/fish.ts";
import { zshCompletion } from "../completion/zsh.ts";
import { usage } from "../faults.ts";
import { type Noun, type Verb, verb } from "../verb.ts";

const SCRIPTS: Readonly<Record<string, (tree: CommandTree) => string>> = {
  ...{ bash: bashCompletion, zsh: zshCompletion, fish: fishCompletion },
};
const SHELLS = Object.keys(SCRIPTS);

/** @param all gives everything that is completed, this verb too */
export function completionOf(all: () => readonly (Noun | Verb)[]): Verb {
  return verb({
    name: "completion",
    about: "Print the completion script of a shell",
    more: "It completes verbs, flags and their fixed values. It never calls the service, and never runs latchkey.",
    examples: ["completion bash", "source <(latchkey completion bash)", "latchkey completion fish | source"],
    args: [{ name: "SHELL", about: SHELLS.join(", "), choices: SHELLS }],
    flags: {},
    async run(_, { args: [shell] }) {
      if (!SHELLS.includes(shell!)) throw usage(`SHELL must be one of ${SHELLS.join(", ")}`);
      return { kind: "verbatim", text: SCRIPTS[shell!]!(commandTree(all())) };
    },
  });
}
