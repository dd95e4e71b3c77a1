import { type CommandTree, type FlagWord, quoted } from "./command-tree.ts";

/** The script for zsh, to be sourced after `compinit`, or to be a file `_latchkey` in a folder of `fpath`. */
export function zshCompletion({ lines, globalFlags, valued }: CommandTree): string {
  const described = (words: readonly { readonly name: string; readonly about: string }[]) =>
    quoted(...words.map(({ name, about }) => `${name}:${about}`));
  const words = lines.map(
    ({ line, commands, flags, values }) =>
      `    ${quoted(line)})\n      words_now=(${commands.length > 0 ? described(commands) : quoted(...values)})\n` +
      `      flags=(${described(flags)}) ;;`,
  );
  const all = [
    ...globalFlags.map((flag) => ({ pattern: `*${quoted(` ${flag.name}`)}`, flag })),
    ...lines.flatMap(({ line, flags }) => flags.map((flag) => ({ pattern: quoted(`${line} ${flag.name}`), flag }))),
  ];
  const values = all.filter(({ flag }) => flag.choices.length > 0 || flag.takesFile);
  return `#compdef latchkey
# Completion of latchkey for zsh. To load it, after compinit: source <(latchkey completion zsh)
_latchkey() {
  local line=latchkey flag= word
  local -i i
  local -a valued words_now flags
  valued=(${quoted(...valued)})
  for ((i = 2; i < CURRENT; i++)); do
    word=\${words[i]}
    if [[ -n $flag ]]; then
      flag=
    elif (( \${valued[(Ie)$word]} )); then
      flag=$word
    elif [[ $word != -* ]]; then
      case "$line $word" in
        ${lines.map(({ line }) => quoted(line)).join(" | ")}) line+=" $word" ;;
      esac
    fi
  done
  if [[ -z $flag && $PREFIX == --*=* ]]; then
    flag=\${PREFIX%%=*}
    compset -P '*='
  fi
  if [[ -n $flag ]]; then
    case "$line $flag" in
${values.map(({ pattern, flag }) => `    ${pattern}) ${action(flag)} ;;`).join("\n")}
    esac
    return
  fi
  case "$line" in
${words.join("\n")}
  esac
  flags+=(${described(globalFlags)})
  [[ $PREFIX == -* ]] && words_now=("$flags[@]")
  (( $#words_now )) && _describe latchkey words_now
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
  _latchkey "$@"
else
  compdef _latchkey latchkey
fi
`;
}

/** Values may be lists with commas, so the part up to the last comma stays as it is. */
function action({ choices, takesFile }: FlagWord): string {
  return takesFile ? "_files" : `compset -P '*,'; compadd -- ${quoted(...choices)}`;
}
