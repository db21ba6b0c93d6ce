#compdef serai
# Completion of serai's command line: source <(serai completion zsh), behind compinit
_serai() {
  local word about files=
  local -a plain open
  while IFS=$'\t' read -r word about; do
    case "$word" in
      :files) files=_files ;;
      :directories) files='_files -/' ;;
      *=) open+=("${word//:/\\:}:$about") ;;
      *) plain+=("${word//:/\\:}:$about") ;;
    esac
  done < <("${words[1]}" complete -- "${(j: :)words[1,CURRENT-1]} ${words[CURRENT]}" 2>/dev/null)
  (( ${#open} )) && _describe serai open -S ''
  (( ${#plain} )) && _describe serai plain
  if [[ -n "$files" ]]; then
    compset -P '-*='
    ${=files}
  fi
}
compdef _serai serai
