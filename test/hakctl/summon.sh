#!/bin/sh
# Processes that have no background thread until hakctl asks for something: it starts, and
# they do not notice.
. "${0%/*}/lib.sh"

ROUNDS=40

[ "$(uname -m)" = x86_64 ] || skip "threads are summoned on x86-64 alone"
LD_PRELOAD=$HAKMEM_LIB sleep 1000 &
pid=$!
subjects="$subjects $pid"
wait_for "sleep" holds $pid 0
is 0 stats $pid --json
json '.is_fresh'
[ "$(ls "/proc/$pid/task")" = "$pid" ] || fail "a look started a thread"
"$HAKCTL" purge $pid >"$tmp/said" 2>&1
grep -q "has no thread" "$tmp/said" &&
	skip "no thread can be summoned here: $(cat "$tmp/said")"

# ---- What sleeps goes on sleeping, for as long as it was to
has_threads() { [ "$(ls "/proc/$1/task" | wc -l)" -eq "$2" ] || fail "$1: not $2 threads"; }
has_threads $pid 2
is 0 set $pid arenas.dirty_decay_ms=777
is 0 get -n $pid arenas.dirty_decay_ms
says '^777$'
is 0 toggle $pid tiny off
is 0 map $pid
has_threads $pid 2
(
	LD_PRELOAD=$HAKMEM_LIB sh -c 'echo $$ >"$1"; exec sleep 2' - "$tmp/sleeper"
	echo "ended with $?" >>"$tmp/sleeper"
) &
waiter=$!
wait_for "the sleeper" grep -q . "$tmp/sleeper"
began=$(date +%s%N)
sleeper=$(cat "$tmp/sleeper")
sleep 0.5
is 0 purge "$sleeper"
wait $waiter
took=$((($(date +%s%N) - began) / 1000000))
grep -q "^ended with 0$" "$tmp/sleeper" || fail "the sleeper: $(cat "$tmp/sleeper")"
[ $took -ge 1700 ] && [ $took -lt 3500 ] || fail "sleep 2 took $took ms"

# A read that waits gets what comes.
mkfifo "$tmp/fifo"
LD_PRELOAD=$HAKMEM_LIB cat <"$tmp/fifo" >"$tmp/copy" &
cat=$!
exec 8>"$tmp/fifo"
wait_for "cat" holds $cat 0
is 0 purge $cat
echo something >&8
exec 8>&-
wait $cat || fail "cat: exit code $?"
grep -q '^something$' "$tmp/copy" || fail "cat copied $(cat "$tmp/copy")"

# ---- A child of fork, and one that is stopped
subject quiet-fork
is 0 purge "$child"
is 0 get -n "$child" arenas.dirty_decay_ms
LD_PRELOAD=$HAKMEM_LIB sleep 1000 &
pid=$!
subjects="$subjects $pid"
wait_for "sleep" holds $pid 0
kill -STOP $pid
is 1 purge $pid
complains "^hakctl: $pid: is stopped"
kill -CONT $pid
is 0 purge $pid

# ---- Anywhere in what it does: registers, signals, malloc
subject work
for _ in $(seq $ROUNDS); do
	sleep 0.1
	"$HAKCTL" get "$pid" arenas.dirty_decay_ms >"$tmp/said" 2>&1 && continue
	fail "work: $(cat "$tmp/said")"
	break
done
kill -0 "$pid" || fail "work died"
! grep -q wrong "$tmp/out.$pid" || fail "work: something changed"

# ---- A signal that it waits for is not taken for none, and its flags are not ours
subject await
summoned=0
for _ in $(seq $((ROUNDS * 3))); do
	"$HAKCTL" purge "$pid" >/dev/null 2>&1 && summoned=$((summoned + 1))
done
[ $summoned -ge $ROUNDS ] || fail "await: summoned $summoned times"
! grep -q wrong "$tmp/out.$pid" || fail "await: a signal was lost"
kill -KILL "$pid"
subject flags
is 0 purge "$pid"
is 0 get "$pid" arenas.dirty_decay_ms
kill -KILL "$pid"

# ---- Several at once
for _ in $(seq $ROUNDS); do
	LD_PRELOAD=$HAKMEM_LIB sleep 1000 &
	pid=$!
	subjects="$subjects $pid"
	wait_for "sleep" holds $pid 0
	askers=
	for i in 1 2 3 4; do
		"$HAKCTL" set $pid arenas.dirty_decay_ms=$i >/dev/null 2>"$tmp/asker.$i" &
		askers="$askers $!"
	done
	for asker in $askers; do
		wait "$asker" || fail "one of four askers: $(cat "$tmp"/asker.*)"
	done
	has_threads $pid 2
	[ "$failed" -eq 0 ] || break
done
done_with
