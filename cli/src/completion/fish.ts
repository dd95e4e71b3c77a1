import { type CommandTree, type FlagWord, quoted } from "./command-tree.ts";

/** The script for fish, from version 3.0 on. */
export function fishCompletion({ lines, globalFlags, valued }: CommandTree): string {
  const rules = lines.flatMap(({ line, commands, flags, values }) => {
    const here = `complete -c latchkey -n ${quoted(`__latchkey_at ${line}`)}`;
    return [
      ...commands.map(({ name, about }) => `${here} -a ${quoted(name)} -d ${quoted(about)}`),
      ...values.map((value) => `${here} -a ${quoted(value)}`),
      ...flags.map((flag) => `${here} ${flagRule(flag)}`),
    ];
  });
  return `# Completion of latchkey for fish. To load it: latchkey completion fish | source
function __latchkey_at --description 'Whether the commands of the line so far are these'
    set -l line latchkey
    set -l is_value 0
    set -l words (commandline -opc)
    set -e words[1]
    for word in $words
        if test $is_value = 1
            set is_value 0
        else if contains -- $word ${quoted(...valued)}
            set is_value 1
        else if contains -- "$line $word" ${quoted(...lines.map(({ line }) => line))}
            set line "$line $word"
        end
    end
    test "$line" = "$argv"
end
complete -c latchkey -e
complete -c latchkey -f
${[...globalFlags.map((flag) => `complete -c latchkey ${flagRule(flag)}`), ...rules].join("\n")}
`;
}

function flagRule({ name, about, takesValue, takesFile, choices }: FlagWord): string {
  const value = takesFile ? " -r -F" : takesValue ? " -x" : "";
  const words = choices.length > 0 ? ` -a ${quoted(choices.join(" "))}` : "";
  return `-l ${name.slice(2)}${value}${words} -d ${quoted(about)}`;
}
