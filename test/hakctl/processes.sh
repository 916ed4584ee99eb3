#!/bin/sh
# hakctl on processes that are busy, stopped, forked, gone, or somebody else's.
# shellcheck source=test/hakctl/lib.sh
. "${0%/*}/lib.sh"

# ---- Stopped: the numbers it had, and no deed
subject sleep
kill -STOP "$pid"
wait_for stop grep -q '^State:.*T' "/proc/$pid/status"
is 0 stats "$pid"
says '^It is stopped: these numbers are .* old'
is 0 stats "$pid" --json
json '(.is_fresh | not) and .is_stopped and .allocated > 16000000 and .age_ns > 0'
is 0 get -n "$pid" stats.allocated
is 1 get "$pid" version
complains "^hakctl: $pid: is stopped$"
is 1 set "$pid" arenas.dirty_decay_ms=77
complains "^hakctl: $pid: is stopped$"
is 1 purge "$pid"
is 0 ps
says "^ *$pid .*is stopped"
kill -CONT "$pid"
wait_for continue "$HAKCTL" get "$pid" version
# It was not done later.
is 0 get -n "$pid" arenas.dirty_decay_ms
says '^5000$'
# An asker that was killed in the middle is in nobody's way.
kill -STOP "$pid"
"$HAKCTL" stats "$pid" >/dev/null &
kill -KILL $! 2>/dev/null
wait $! 2>/dev/null
kill -CONT "$pid"
is 0 set "$pid" arenas.dirty_decay_ms=4000

# ---- Two of one name
first=$pid
subject sleep
is 2 stats subject
complains "several processes .* $first $pid$"
is 2 purge subject
kill -KILL "$first"
wait_for end sh -c "! kill -0 $first"
is 0 stats subject

# ---- Somebody else's
if [ "$(id -u)" -eq 0 ] && have setpriv; then
	chmod 755 "$tmp"
	cp "$HAKCTL" "$tmp/hakctl"
	other="setpriv --reuid 65534 --regid 65534 --clear-groups $tmp/hakctl"
	for command in "stats $pid" "get $pid version" "purge $pid" \
	    "set $pid arenas.dirty_decay_ms=1" "site $pid list" "stats subject"; do
		# shellcheck disable=SC2086
		$other $command >"$tmp/said" 2>"$tmp/errors"
		[ $? -eq 1 ] || fail "another user: $command: not exit code 1"
		complains "^hakctl: (subject \($pid\)|$pid): permission denied$"
	done
	$other ps >"$tmp/said" || fail "another user: ps failed"
	grep -q " subject " "$tmp/said" && fail "another user: ps shows it"
else
	echo "not root: no test with another user"
fi

# ---- Gone
subject exit
"$HAKCTL" stats "$pid" --interval 0.05 >"$tmp/said" 2>"$tmp/errors" &
looker=$!
sleep 0.2
echo >&9
wait $looker
[ $? -eq 1 ] || fail "stats --interval of what ends: exit code"
complains "^hakctl: $pid: process ended$"
is 1 stats "$pid"
for _ in 1 2 3 4 5 6 7 8 9 10; do
	subject exit
	echo >&9
	"$HAKCTL" stats "$pid" >"$tmp/said" 2>"$tmp/errors"
	[ $? -le 1 ] || fail "stats of what ends: $(cat "$tmp/errors")"
	"$HAKCTL" purge "$pid" >"$tmp/said" 2>"$tmp/errors"
	[ $? -le 1 ] || fail "purge of what ends: $(cat "$tmp/errors")"
done

# ---- One that closed all its files, ones that forked
subject closefrom
is 0 stats "$pid" --json
json '.is_fresh and .allocated > 16000000'
is 0 set "$pid" arenas.dirty_decay_ms=3000
subject fork
wait_for "segment of the child" "$HAKCTL" get "$child" version
wait_for "the child's heap" holds "$child" 40000000
is 0 stats "$child" --json
json '.is_fresh'
is 0 stats "$pid" --json
json '.is_fresh and .allocated < 20000000'
is 0 set "$child" arenas.dirty_decay_ms=111
is 0 get -n "$pid" arenas.dirty_decay_ms
says '^5000$'

# ---- Without a background thread, and so without a segment: its memory is read
subject quiet-fork
is 0 stats "$child" --json
json '.is_fresh and .allocated > 16000000 and .allocated < 17000000'
is 0 ps
says "^ *$child +subject +15\.[0-9] MiB"
export HAKMEM_CONF=background_thread:false
subject quiet 4
unset HAKMEM_CONF
is 0 get "$pid" stats.allocated
is 0 stats "$pid" --threads --json
while read -r name number; do
	[ "$name" = numbers ] || [ "$name" = ready ] ||
	    json ".$name == $number or (\"$name $number\" | error)"
done <"$tmp/out.$pid"
json '.threads | length == 5 and ([.[] | select(.hits > 500)] | length == 4)'
is 0 stats "$pid" --all
says '^ +3\.00 KiB +l2 '
is 0 ps --json
json "map(select(.pid == $pid))[0] | .is_fresh and .threads == 5"
is 1 set "$pid" arenas.dirty_decay_ms=1
complains "^hakctl: $pid: has no thread that could answer: it runs with background_thread:false$"
is 1 map "$pid"
complains "^hakctl: $pid: has no thread that could answer"
kill -STOP "$pid"
is 0 stats "$pid"
kill -KILL "$pid"

# Its first thread ended: another has what there is to look at.
subject first-ends
grep -q '^State:.Z' "/proc/$pid/status" || fail "first-ends: its first thread is there"
is 0 stats "$pid" --json
json '.is_fresh and .allocated > 16000000 and .allocated < 17000000 and .rss > 16000000'
is 0 ps
says "^ *$pid +subject +15\.[0-9] MiB"
is 1 purge "$pid"
complains "^hakctl: $pid: has no thread that could answer"
kill -KILL "$pid"

# Nothing but the library, and the library within the program.
LD_PRELOAD=$HAKMEM_LIB sleep 1000 &
subjects="$subjects $!"
wait_for "sleep" holds $! 0
is 0 stats $! --json
json '.is_fresh and .allocated < 1000000'
is 0 stats sleep
library=${HAKMEM_LIB%.so}.a
if [ -f "$library" ]; then
	${CC:-cc} -std=gnu11 -O1 "${0%/*}/subject.c" "$library" -rdynamic -Wl,-u,hak_mallctl -o "$tmp/static" \
	    -pthread -ldl || exit 1
	"$tmp/static" quiet 1 >"$tmp/out" &
	subjects="$subjects $!"
	wait_for "a static subject" grep -q ready "$tmp/out"
	is 0 stats $! --json
	json ".allocated == $(sed -n 's/^allocated //p' "$tmp/out")"
fi

# ---- In a pid namespace of its own
if unshare --fork --pid true 2>/dev/null; then
	LD_PRELOAD='' unshare --fork --pid sh -c "
	    LD_PRELOAD='$HAKMEM_LIB' exec '$tmp/subject' sleep" >"$tmp/out" 2>/dev/null &
	keeper=$!
	wait_for "subject in a pid namespace" grep -q ready "$tmp/out"
	inner=$(cat "/proc/$keeper/task/$keeper/children")
	inner=${inner%% *}
	subjects="$subjects $inner $keeper"
	wait_for "its segment" "$HAKCTL" get "$inner" version
	is 0 stats "$inner" --threads --json
	json ".pid == $inner and .is_fresh"
	is 0 set "$inner" arenas.dirty_decay_ms=2000
	is 0 purge "$inner"
	kill -KILL "$inner"
fi

# ---- Purge gives back what rests; idle as it is, within a second
HAKMEM_CONF=dirty_decay_ms:-1
export HAKMEM_CONF
subject free
unset HAKMEM_CONF
is 0 get -n "$pid" stats.resident
before=$(cat "$tmp/said")
start=$(date +%s%N)
is 0 purge "$pid" --json
took=$((($(date +%s%N) - start) / 1000000))
[ $took -lt 1000 ] || fail "purge took $took ms"
json '.resident_before - .resident_after == .given_back and .given_back > 8000000'
is 0 get -n "$pid" stats.resident
[ "$(cat "$tmp/said")" -lt $((before - 8000000)) ] || fail "purge: still resident"
is 0 purge "$pid"
says '^subject .*: gave back [0-9.]+ .*B; resident .* before, .* after$'
is 1 purge "$pid" --site nobody
complains "no arena is named 'nobody'"

# ---- Whales: what is held is not what is kept
export HAKMEM_CONF=dirty_decay_ms:-1
subject whale
unset HAKMEM_CONF
is 0 stats "$pid" --all --json
json '.whales == 1 and .whale_allocated_bytes >= 6291456 and .whale_allocated_bytes < 7000000'
json '.whale_cached_bytes >= 1048576 and .whale_cached_bytes <= 3145728'
json '.layers.whale.bytes == .whale_cached_bytes'
json '([.arenas[].whale_allocated_bytes] | add) == .whale_allocated_bytes'
is 0 map "$pid" --json
json '.totals.whale_allocated_bytes > .totals.whale_cached_bytes'
kept=$("$HAKCTL" get -n "$pid" whale.bytes)
is 0 export "$pid"
says "^hakmem_whale_cached_bytes\{pid=\"$pid\",.*\} $kept$"
says "^hakmem_whale_allocated_bytes\{pid=\"$pid\",.*\} 6[0-9]{6}$"

# What lies behind blocks over 1 MiB is a part of the overhead, and what is left of that
# was not moving: the process sleeps.
export HAKMEM_CONF=dirty_decay_ms:-1
subject slack
unset HAKMEM_CONF
is 0 stats "$pid" --json
json '.whale_slack_bytes == 131072'
is 0 stats "$pid"
says '^    behind blocks over 1 MiB +128 KiB '
is 0 export "$pid"
says "^hakmem_whale_slack_bytes\{pid=\"$pid\",.*\} 131072$"
subject whales
wait_for "slack" sh -c "[ \$($HAKCTL get -n $pid stats.whale_slack_bytes) -gt 1048576 ]"
is 0 stats "$pid" --json
json '.whales == 100 and .resident - .allocated == ([.tcache_bytes, .depot_bytes,
    .slab_free_bytes, .whale_slack_bytes, .dirty, .muzzy, .metadata] | add)'
is 0 stats "$pid"
! grep -q 'moved while it was counted' "$tmp/said" || fail "stats: of what sleeps something moved"

# ---- A library's allocations on a site
cat >"$tmp/site.c" <<'C'
#include <stdlib.h>
void *allocate(size_t size);
void *allocate(size_t size) { void *p = malloc(size); *(volatile char *)p = 1; return p; }
C
${CC:-cc} -shared -fPIC -O1 "$tmp/site.c" -o "$tmp/libsite.so" || exit 1
subject library "$tmp/libsite.so"
is 0 site "$pid" add 'libsite.so=site'
echo >&9
wait_for "the library" grep -q "done" "$tmp/out.$pid"
# Numbers may be 10 ms old.
sleep 0.02
is 0 stats "$pid" --sites --json
json '.sites | length == 1 and .[0].name == "site" and .[0].allocated >= 5000000 and
    .[0].allocated < 8000000 and .[0].objects == 100'
is 0 stats "$pid" --sites
says '^  site +[5-7]\.[0-9]+ MiB'
is 0 purge "$pid" --site site
# How many rules lead to it: none is counted that goes, or leads elsewhere now.
rules() {
	sleep 0.02
	is 0 stats "$pid" --sites --json
	json "[.sites[] | .name + \" \" + (.rules | tostring)] == $1"
}
rules '["site 1"]'
is 0 site "$pid" add 'libother.so=site'
rules '["site 2"]'
is 0 site "$pid" add 'libother.so=other'
rules '["site 1", "other 1"]'
is 0 site "$pid" remove 'libsite.so'
rules '["site 0", "other 1"]'

# ---- Busy with 16 threads; many hakctls at once, that set what the others do
subject spin 16
start=$(date +%s%N)
is 0 stats "$pid" --all
took=$((($(date +%s%N) - start) / 1000000))
[ $took -lt 1000 ] || fail "stats of 16 busy threads took $took ms"
is 0 stats "$pid" --interval 0.2 --count 3 --json
jq -se '.[2].rates.allocations > 10000' "$tmp/said" >/dev/null ||
    fail "no rates of a busy process"
askers=
for i in 1 2 3 4 5 6 7 8; do
	(
		for n in 1 2 3 4 5; do
			"$HAKCTL" set "$pid" "arenas.dirty_decay_ms=${i}00$n" || exit 1
			"$HAKCTL" toggle "$pid" tiny off || exit 1
			"$HAKCTL" stats "$pid" --json || exit 1
			"$HAKCTL" toggle "$pid" tiny on || exit 1
			"$HAKCTL" purge "$pid" || exit 1
		done
	) >"$tmp/asker.$i" 2>&1 &
	askers="$askers $!"
done
for asker in $askers; do
	wait "$asker" || fail "one of many at once failed"
done
grep -h hakctl: "$tmp"/asker.* | sort | uniq -c
is 0 get -n "$pid" arenas.dirty_decay_ms
says '^[1-8]00[1-5]$'
is 0 get -n "$pid" tls.tiny.enabled
kill -0 "$pid" || fail "the busy process did not survive"

done_with
