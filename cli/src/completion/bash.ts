import { type CommandTree, quoted } from "./command-tree.ts";

/**
 * The script for bash, from version 3.2 on. It compares words and nothing else: `compgen -W` would expand what it is
 * given. File names are offered where bash can quote them.
 */
export function bashCompletion({ lines, globalFlags, valued }: CommandTree): string {
  const names = (words: readonly { readonly name: string }[]) => words.map(({ name }) => name).join(" ");
  const known = lines.map(({ line }) => quoted(line)).join(" | ");
  const words = lines.map(
    ({ line, commands, flags, values }) =>
      `    ${quoted(line)}) words=${quoted([...commands.map(({ name }) => name), ...values].join(" "))} ` +
      `flags=${quoted(names(flags))} ;;`,
  );
  const all = [
    ...globalFlags.map((flag) => ({ pattern: `*${quoted(` ${flag.name}`)}`, flag })),
    ...lines.flatMap(({ line, flags }) => flags.map((flag) => ({ pattern: quoted(`${line} ${flag.name}`), flag }))),
  ];
  const values = all
    .filter(({ flag }) => flag.choices.length > 0)
    .map(({ pattern, flag }) => `    ${pattern}) words=${quoted(flag.choices.join(" "))} ;;`);
  const files = all.filter(({ flag }) => flag.takesFile).map(({ pattern }) => pattern);
  return `# Completion of latchkey for bash. To load it: source <(latchkey completion bash)
_latchkey() {
  local IFS=$' \\t\\n' cur=\${COMP_WORDS[COMP_CWORD]} line=latchkey flag= words= flags= prefix= word i
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    if [[ -n $flag ]]; then
      # Bash splits --flag=value into three words.
      [[ $word == = ]] || flag=
      continue
    fi
    case "$word" in
      ${valued.join(" | ")}) flag=$word ;;
      -*) ;;
      *) case "$line $word" in
        ${known}) line+=" $word" ;;
      esac ;;
    esac
  done
  COMPREPLY=()
  [[ -n $flag && $cur == = ]] && cur=
  if [[ -n $flag ]]; then
    case "$line $flag" in
${values.join("\n")}
    ${files.join(" | ")})
      compopt -o filenames 2>/dev/null || return 0
      while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -f -- "$cur")
      return 0 ;;
    esac
    [[ $cur == *,* ]] && prefix=\${cur%,*},
  else
    case "$line" in
${words.join("\n")}
    esac
    [[ $cur == -* ]] && words="$flags ${names(globalFlags)}"
  fi
  set -f
  for word in $words; do
    [[ $word == "\${cur#"$prefix"}"* ]] && COMPREPLY+=("$prefix$word")
  done
  set +f
  return 0
}
complete -F _latchkey latchkey
`;
}
