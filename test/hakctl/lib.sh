# shellcheck shell=sh
# Sourced by the scripts here, instead of ../lib.sh. Takes from the environment, too,
#   HAKCTL  the hakctl under test; without it the one in BUILDDIR
# and gives:
# shellcheck source=test/lib.sh
. "${0%/*}/../lib.sh"
: "${HAKCTL:=${BUILDDIR:-.}/hakctl}"
[ -x "$HAKCTL" ] || skip "no hakctl was built"
overrides || skip "hakmem is not preloadable"
have jq || skip "no jq"

# One at a time, under make -j, too: they find their subjects by name.
exec 8<"${0%/*}/lib.sh"
flock 8

subjects=
# shellcheck disable=SC2154
trap 'for p in $subjects; do kill -KILL $p 2>/dev/null; done; rm -rf "$tmp"' EXIT
${CC:-cc} -std=gnu11 -O1 "${0%/*}/subject.c" -o "$tmp/subject" -pthread -ldl || exit 1

# run a subject KIND [ARGUMENT]: $pid is its pid, $tmp/out.$pid what it says. It reads
# what is written to fd 9.
subject() {
	rm -f "$tmp/in"
	mkfifo "$tmp/in"
	: >"$tmp/out"
	LD_PRELOAD=$HAKMEM_LIB "$tmp/subject" "$@" <"$tmp/in" >"$tmp/out" 2>"$tmp/err" &
	pid=$!
	exec 9>"$tmp/in"
	subjects="$subjects $pid"
	wait_for "subject $*" grep -q ready "$tmp/out"
	child=$(sed -n 's/^ready \([0-9]*\)$/\1/p' "$tmp/out")
	subjects="$subjects $child"
	mv "$tmp/out" "$tmp/out.$pid"
	case $1 in
	quiet | work | first-ends | await | flags) ;;
	*) wait_for "segment of subject $*" "$HAKCTL" get "$pid" version ;;
	esac
}

# wait_for WHAT COMMAND...: until the command succeeds, 10 s at most
wait_for() {
	what=$1
	shift
	for _ in $(seq 200); do
		"$@" >/dev/null 2>&1 && return 0
		sleep 0.05
	done
	fail "timed out waiting for: $what"
	return 1
}

# holds PID BYTES: more than that is allocated there
holds() { [ "$("$HAKCTL" get -n "$1" stats.allocated)" -gt "$2" ]; }

# is CODE COMMAND...: hakctl's exit code, its output in $tmp/said, errors in $tmp/errors
is() {
	code=$1
	shift
	"$HAKCTL" "$@" >"$tmp/said" 2>"$tmp/errors"
	got=$?
	if [ $got -ne "$code" ]; then
		fail "hakctl $*: exit code $got, not $code"
		sed 's/^/    /' "$tmp/said" "$tmp/errors"
	fi
}

# the last command printed a line that matches; said nothing but one line of error
says() {
	grep -Eq -- "$1" "$tmp/said" || {
		fail "hakctl: no '$1' in what it printed"
		sed 's/^/    /' "$tmp/said"
	}
}
complains() {
	if [ "$(wc -l <"$tmp/errors")" -ne 1 ] || ! grep -Eq -- "$1" "$tmp/errors"; then
		fail "hakctl: not one line '$1' on stderr"
		sed 's/^/    /' "$tmp/errors"
	fi
}

# json FILTER: of what the last command printed, true
json() {
	jq -e "$1" "$tmp/said" >/dev/null 2>"$tmp/jq" || {
		fail "hakctl: JSON is not $1"
		cat "$tmp/jq" "$tmp/said" | head -40 | sed 's/^/    /'
	}
}

done_with() {
	[ "$failed" -eq 0 ] || exit 1
	echo "hakctl/${0##*/}: ok"
}
