#!/bin/sh
# hakctl top on a terminal of 80 x 24: tmux has one.
# shellcheck source=test/hakctl/lib.sh
. "${0%/*}/lib.sh"
have tmux || skip "no tmux"

unset TMUX
export TMUX_TMPDIR="$tmp"
# shellcheck disable=SC2154
trap 'tmux kill-server 2>/dev/null
for p in $subjects; do kill -KILL $p 2>/dev/null; done; rm -rf "$tmp"' EXIT

# shows REGEX: the screen does so within 10 s
screen() {
	tmux capture-pane -p >"$tmp/screen" && grep -Eq -- "$1" "$tmp/screen"
}
shows() {
	wait_for "'$1' on the screen" screen "$1" || sed 's/^/    /' "$tmp/screen"
}
press() {
	tmux send-keys "$@"
}
# start COLUMNS ROWS LOCALE [ARGUMENT...]: hakctl top in a new terminal
start() {
	columns=$1
	rows=$2
	locale=$3
	shift 3
	tmux -f /dev/null new-session -d -x "$columns" -y "$rows" \
	    "LC_ALL=$locale '$HAKCTL' top --interval 0.2 $*; echo ended with \$?; sleep 60"
}
finish() {
	tmux kill-server
	wait_for "tmux's end" sh -c "! tmux ls 2>/dev/null"
}
# value NAME: of a control
value() {
	"$HAKCTL" get -n "$pid" "$1"
}

subject spin 2
first=$pid

# ---- Not on a terminal
is 1 top </dev/null
complains 'needs a terminal'
is 0 top --help
is 2 top --nonsense
is 2 top --interval 0
is 2 top "$pid" "$pid"
is 1 top 99999999
complains 'no such process'
is 0 top "$pid" --json --interval 0.2
json '.[0] | .pid == '"$pid"' and .rates.allocations > 0 and (.arenas | length) > 0'
is 0 top --json --interval 0.1 --count 2
[ "$(wc -l <"$tmp/said")" -eq 2 ] || fail "top --json --count 2: not two lines"

# ---- The list
subject free
start 80 24 C.UTF-8
shows 'hakctl top: [0-9]+ processes on hakmem'
shows "^ *$first subject +[0-9]"
shows "^ *$pid subject +[0-9]"
shows 'Enter open .* q quit'
shows '^ *PID COMMAND +ALLOCATED  RESIDENT OVERHEAD ALLOCS/S +HITS +THR RESIDENT$'
[ "$(wc -l <"$tmp/screen")" -eq 24 ] || fail "top: not 24 lines"
# By pid; the first one is selected by Home, and opened.
press Left Left Left Home
shows "^ *$first subject"
press q
shows 'ended with 0'
finish

# ---- One process
start 80 24 C.UTF-8 "$pid"
shows "subject \($pid\) +up .* arenas in use"
shows '^allocated +[0-9.]+ [KM]iB'
shows '^resident +[0-9.]+ [KM]iB  RSS +[0-9.]+ [KM]iB'
shows '^tiny +on '
shows '^whale +on '
shows '^ +0 +1 '
shows '^16\.0 KiB l2 '
shows '[▁▂▃▄▅▆▇█]{3}$'
shows 'Esc back .* q quit'

# p purges
before=$(value stats.resident)
press p
shows 'was purged: resident'
after=$(value stats.resident)
[ "$after" -lt "$before" ] || fail "top: p: resident $before before, $after after"

# t toggles what is chosen, Esc nothing
press t
shows 'Which layer\?  1 tiny \(on\)'
press Escape
[ "$(value tls.l2.enabled)" = true ] || fail "top: t, Esc toggles"
press t 2
shows 'l2 is off now'
shows '^l2 +off '
[ "$(value tls.l2.enabled)" = false ] || fail "top: t 2 does not toggle"
press t 2
shows '^l2 +on '
press t
shows 'Which layer'
press x
[ "$(value tls.tiny.enabled)" = true ] || fail "top: t x toggles"

# the others
press s
shows 'sort: allocs/s'
press Tab Down Up NPage PPage End Home
shows '^ARENA NAME'
press Escape
shows 'hakctl top: '
press Enter
shows 'Esc back'
press BSpace
shows 'hakctl top: '
press Enter

# ---- Other sizes
shows 'Esc back'
tmux resize-window -x 132 -y 50
shows '^.{100,}[▁▂▃▄▅▆▇█]$'
press Escape
shows '^ *PID COMMAND .* RESIDENT +RSS OVERHEAD '
shows "^ *$pid subject( +[0-9.]+ [KM]iB){3} "
press Enter
tmux resize-window -x 30 -y 5
shows 'too small'
tmux resize-window -x 60 -y 16
shows "subject \($pid\)"
tmux resize-window -x 80 -y 24
shows 'Esc back .* q quit'

# ---- Stopped, woken, ended
kill -STOP "$pid"
shows "subject \($pid\) is stopped: what is shown is"
press p
shows "subject \($pid\) is stopped$"
kill -CONT "$pid"
shows "subject \($pid\) +up "
kill -KILL "$pid"
wait "$pid" 2>/dev/null
shows "subject \($pid\) ended: what is shown is"
press p
shows "subject \($pid\) ended$"
press t 1
press Escape
shows "^ *$first subject"
press q
shows 'ended with 0'
finish

# ---- Without UTF-8, by name, ended by a signal
pid=$first
start 80 24 C subject
shows "subject \($pid\) +up "
shows '[_.:=+*#-]{3}$'
! grep -q '[▁▂▃▄▅▆▇█]' "$tmp/screen" || fail "top: blocks without UTF-8"
tmux send-keys C-c
shows 'ended with 0'
finish

# ---- A terminal that goes away takes it along
start 80 24 C.UTF-8 "$pid"
shows "subject \($pid\) +up "
finish
wait_for "top's end with its terminal" sh -c "! pgrep -f \"^$HAKCTL top\""

done_with
