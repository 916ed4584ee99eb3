# bash completion for hakctl(1)

# Processes on hakmem that this user may look at: their pids and names.
_hakctl_processes() {
	hakctl ps 2>/dev/null | awk 'NR > 1 { print $1; print $2 }' | sort -u
}

# Names of controls: of one process, with its numbers of arenas left as they are.
_hakctl_controls() {
	hakctl list 2>/dev/null | awk -v access="$1" 'NR > 1 {
		if (access == "set" && $0 !~ /(read, set|acts| set ) /) next
		# Those of a thread are for the process itself.
		if ($1 ~ /^(thread|tcache)\.|^limit\.callback$|^arenas\.(create|lookup)$/) next
		print $1
	}'
}

# The arenas that have a name.
_hakctl_sites() {
	hakctl stats "$1" --sites --json 2>/dev/null |
	    sed -n '/"sites"/,$s/.*"name": "\(.*\)".*/\1/p'
}

# The patterns that have a rule.
_hakctl_rules() {
	hakctl site "$1" list 2>/dev/null | sed -n 's/=[^=]*$//p'
}

_hakctl() {
	local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
	local command=${COMP_WORDS[1]} words='' i argument=0
	local commands='ps stats top map get set list purge toggle site export'

	COMPREPLY=()
	if [ "$COMP_CWORD" -eq 1 ]; then
		mapfile -t COMPREPLY < <(compgen -W "$commands --help --version" -- "$current")
		return
	fi
	# Which argument this is, options and their values left out: 1 is the process.
	for ((i = 2; i <= COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		--site | --interval | --count | --listen | --colour | --format | -o | --output)
			i=$((i + 1)) ;;
		-*) ;;
		*) argument=$((argument + 1)) ;;
		esac
	done
	case $previous in
	--site)
		mapfile -t COMPREPLY < <(compgen -W "$(_hakctl_sites "${COMP_WORDS[2]}")" -- "$current")
		return ;;
	--interval | --count | --listen)
		return ;;
	--colour)
		mapfile -t COMPREPLY < <(compgen -W 'auto always never' -- "$current")
		return ;;
	--format)
		mapfile -t COMPREPLY < <(compgen -W 'prometheus openmetrics' -- "$current")
		return ;;
	--diff | -o | --output)
		compopt -o default
		return ;;
	esac
	case $current in
	-*)
		case $command in
		stats) words='--arenas --bins --large --mutexes --threads --sites --all
			--interval --count --diff' ;;
		get) words=--values ;;
		purge) words=--site ;;
		top) words='--interval --count' ;;
		map) words='-o --output --colour' ;;
		export) words='-o --output --listen --format' ;;
		esac
		words="$words --json --help" ;;
	*)
		case $command,$argument in
		stats,1 | top,1 | map,1 | get,1 | set,1 | purge,1 | toggle,1 | site,1 | export,*)
			words=$(_hakctl_processes) ;;
		get,*) words=$(_hakctl_controls get) ;;
		set,*)
			words=$(_hakctl_controls set)
			compopt -o nospace ;;
		list,1) words=$(_hakctl_controls get) ;;
		toggle,2) words='tiny l2 l25 whale' ;;
		toggle,3) words='on off' ;;
		site,2) words='add remove list' ;;
		site,3)
			[ "${COMP_WORDS[3]}" = remove ] && words=$(_hakctl_rules "${COMP_WORDS[2]}") ;;
		esac
		case " ${COMP_WORDS[*]} " in
		*' --diff '*)
			compopt -o default
			return ;;
		esac ;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}

complete -F _hakctl hakctl
