#!/bin/sh
# The completion for bash offers what there is.
# shellcheck source=test/hakctl/lib.sh
. "${0%/*}/lib.sh"
have bash || skip "no bash"
completion=$srctest/../src/hakctl/hakctl.bash

subject sleep
"$HAKCTL" set "$pid" arena.0.name=main >/dev/null || fail "cannot name an arena"
mkdir "$tmp/bin"
ln -s "$(realpath "$HAKCTL")" "$tmp/bin/hakctl"

# offers WORD... : the last word is to be completed; what is offered is in $tmp/said
offers() {
	PATH=$tmp/bin:$PATH bash -c '
		. "$1"; shift
		COMP_WORDS=(hakctl "$@"); COMP_CWORD=$#
		_hakctl 2>/dev/null; printf "%s\n" "${COMPREPLY[@]}"' \
	    bash "$completion" "$@" >"$tmp/said"
}

offers ''
for command in ps stats top map get set list purge toggle site export; do
	says "^$command$"
done
offers st
says '^stats$'
offers stats ''
says "^$pid$"
says '^subject$'
offers stats "$pid" --a
says '^--arenas$'
offers get "$pid" stats.all
says '^stats\.allocated$'
offers set "$pid" tls.
says '^tls\.tiny\.enabled$'
grep -q '^tls.tiny.hits$' "$tmp/said" && fail "set is offered what can only be read"
offers toggle "$pid" ''
says '^l25$'
offers toggle "$pid" tiny o
says '^off$'
offers site "$pid" ''
says '^remove$'
offers purge "$pid" --site ''
says '^main$'
"$HAKCTL" site "$pid" add 'libx.so*=x' >/dev/null || fail "cannot add a rule"
offers site "$pid" remove ''
says '^libx\.so\*$'

done_with
