/** Completion scripts: each hands the words up to the cursor to `tug __complete`. */

const bash = `# bash completion for tug
_tug() {
  local IFS=$'\\n' words
  words=("\${COMP_WORDS[@]:1:COMP_CWORD-1}")
  local current="\${COMP_WORDS[COMP_CWORD]}"
  # Words are broken at "=" and ":": put flag=value and name:tag together again.
  if [[ $(type -t _get_comp_words_by_ref) == function ]]; then
    local cword; local -a whole
    _get_comp_words_by_ref -n "=:" -c current -w whole -i cword
    words=("\${whole[@]:1:cword-1}")
  fi
  COMPREPLY=()
  local line
  while IFS= read -r line; do
    case $line in
      :files) compopt -o default; COMPREPLY=(); return ;;
      :*) ;;
      *) line=\${line%%$'\\t'*}; [[ $line == "$current"* ]] && COMPREPLY+=("$line") ;;
    esac
  done < <(tug __complete -- "\${words[@]}" "$current" 2>/dev/null)
  [[ \${#COMPREPLY[@]} == 1 && \${COMPREPLY[0]} == *= ]] && compopt -o nospace
  if [[ $(type -t __ltrim_colon_completions) == function ]]; then
    __ltrim_colon_completions "$current"
  fi
}
complete -F _tug tug
`;

const zsh = `#compdef tug
# zsh completion for tug
_tug() {
  local -a described
  local line
  while IFS= read -r line; do
    case $line in
      :files) _files; return ;;
      :*) ;;
      *) line=\${line//:/\\\\:}; described+=("\${line/$'\\t'/:}") ;;
    esac
  done < <(tug __complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)
  _describe -V tug described
}
if [ "$funcstack[1]" = "_tug" ]; then _tug "$@"; else compdef _tug tug; fi
`;

const fish = `# fish completion for tug
function __tug_complete
  set -l words (commandline -opc)
  set -l current (commandline -ct)
  for line in (tug __complete -- $words[2..-1] "$current" 2>/dev/null)
    switch $line
      case ':files'
        __fish_complete_path "$current"
      case ':*'
      case '*'
        echo $line
    end
  end
end
complete -c tug -f -a '(__tug_complete)'
`;

/** Scripts by shell. */
export const scripts: Readonly<Record<string, string>> = { bash, zsh, fish };
