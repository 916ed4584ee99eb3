#!/bin/sh
# What hakmem costs a process that hardly uses it: system calls, threads, files,
# resident memory.
# shellcheck source=test/lib.sh
. "${0%/*}/../lib.sh"

CALLS_MORE=15
KIB_MORE=1536

overrides || skip "startup.sh: this build does not override malloc"
if ! LD_PRELOAD=$HAKMEM_LIB true 2>"$tmp/err" || [ -s "$tmp/err" ]; then
	skip "startup.sh: the library cannot be preloaded: $(cat "$tmp/err")"
fi
unset HAKMEM_CONF

# trace FILE [VAR=VALUE]: the system calls of true(1), one a line
trace() {
	timeout 60 strace -f -qq -o "$1" ${2:+-E "$2"} true
}

# calls FILE REGEX: how many of them
calls() {
	grep -Ec "^[0-9]+ +($2)\(" "$1"
}

if have strace && trace "$tmp/none" && trace "$tmp/with" "LD_PRELOAD=$HAKMEM_LIB"
then
	none=$(calls "$tmp/none" '[a-z0-9_]+')
	with=$(calls "$tmp/with" '[a-z0-9_]+')
	echo "true: $none system calls, $with with hakmem"
	if [ $((with - none)) -gt $CALLS_MORE ]; then
		fail "$((with - none)) system calls more, not $CALLS_MORE"
		sed 's/^/    /' "$tmp/with"
	fi
	for call in 'clone3?|v?fork' 'socket(pair)?' \
	    'memfd_create|eventfd2?|pipe2?|userfaultfd|epoll_create1?'; do
		[ "$(calls "$tmp/with" "$call")" -eq \
		    "$(calls "$tmp/none" "$call")" ] ||
		    fail "calls $call"
	done
	# Every file that was opened is closed; none is made.
	opened=$(grep -Ec ' open(at)?\(.* = [0-9]+$' "$tmp/with")
	closed=$(grep -Ec ' close\([0-9]+\) += 0$' "$tmp/with")
	opened_none=$(grep -Ec ' open(at)?\(.* = [0-9]+$' "$tmp/none")
	closed_none=$(grep -Ec ' close\([0-9]+\) += 0$' "$tmp/none")
	[ $((opened - closed)) -eq $((opened_none - closed_none)) ] ||
	    fail "$opened files opened, $closed closed"
	! grep -q O_CREAT "$tmp/with" || fail "makes a file"
else
	echo "skip: no working strace: system calls not counted"
fi

# resident VAR=VALUE COMMAND...: the least KiB of some runs of a command that
# prints its own smaps_rollup
resident() {
	for _ in 1 2 3 4 5; do
		env "$@" | sed -n 's/^Rss: *\([0-9]*\) kB/\1/p'
	done | sort -n | head -n 1
}

compare() {
	none=$(resident X=x "$@")
	with=$(resident "LD_PRELOAD=$HAKMEM_LIB" "$@")
	if [ -z "$none" ] || [ -z "$with" ]; then
		fail "$1: no figures"
		return
	fi
	echo "$1: $none KiB resident, $with KiB with hakmem"
	[ $((with - none)) -le $KIB_MORE ] ||
	    fail "$1: $((with - none)) KiB more, not $KIB_MORE"
}

compare cat /proc/self/smaps_rollup
# shellcheck disable=SC2016
compare bash -c 'while read -r line; do echo "$line"; done </proc/self/smaps_rollup'
if have perl; then
	compare perl -e 'open F, "/proc/self/smaps_rollup"; print while <F>'
fi

(ulimit -v 12000 && LD_PRELOAD=$HAKMEM_LIB true) ||
    fail "12,000 KiB of address space are not enough"

# ThreadSanitizer has its own malloc and is not set up yet when the library starts.
echo 'int main(void) { return 0; }' >"$tmp/sanitized.c"
if clang -fsanitize=thread "$tmp/sanitized.c" -o "$tmp/sanitized" 2>/dev/null &&
    "$tmp/sanitized"; then
	LD_PRELOAD=$HAKMEM_LIB "$tmp/sanitized" || fail "clang's ThreadSanitizer: status $?"
fi

[ "$failed" -eq 0 ] || exit 1
echo "integration/startup.sh: ok"
