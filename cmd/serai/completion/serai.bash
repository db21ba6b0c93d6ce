# Completion of serai's command line: source <(serai completion bash)
_serai() {
  local current="${COMP_WORDS[COMP_CWORD]}" before="" word
  # Bash takes what stands behind = as a word of its own.
  if [[ "$COMP_WORDBREAKS" == *=* ]]; then
    [[ "$current" == "=" ]] && current=""
    [[ "${COMP_LINE:0:COMP_POINT}" =~ [[:space:]](-[^[:space:]=]*=)[^[:space:]]*$ ]] && before="${BASH_REMATCH[1]}"
  fi
  COMPREPLY=()
  while IFS=$'\t' read -r word _; do
    case "$word" in
      :files) compopt -o filenames 2>/dev/null; while read -r word; do COMPREPLY+=("$word"); done < <(compgen -f -- "$current") ;;
      :directories) compopt -o filenames 2>/dev/null; while read -r word; do COMPREPLY+=("$word"); done < <(compgen -d -- "$current") ;;
      *) COMPREPLY+=("${word#"$before"}") ;;
    esac
  done < <("${COMP_WORDS[0]}" complete -- "${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
  [[ ${#COMPREPLY[@]} -eq 1 && "${COMPREPLY[0]}" == *= ]] && compopt -o nospace 2>/dev/null
  return 0
}
complete -F _serai serai
