#!/bin/sh
# Each command on a process that sleeps: output, JSON, exit codes.
# shellcheck source=test/hakctl/lib.sh
. "${0%/*}/lib.sh"

subject sleep

# ---- No process at all
is 2
is 0 --help
says '^Usage: hakctl COMMAND'
is 0 --version
says '^hakctl [0-9]+\.[0-9]+\.[0-9]+$'
is 2 nonsense
complains "no command 'nonsense'"
for command in ps stats get set list purge toggle site; do
	is 0 $command --help
	says "^Usage: hakctl $command"
	is 2 $command --nonsense
	complains 'unknown'
done
for command in stats get set purge toggle site; do
	is 2 $command
	complains 'which process'
done
is 2 get "$pid"
is 2 set "$pid"
is 2 stats "$pid" "$pid"
is 2 stats "$pid" --interval 0
is 2 stats "$pid" --interval x
is 2 stats "$pid" --count -1
is 2 stats --diff "$tmp/subject"
is 2 purge "$pid" more
is 2 purge "$pid" --site ''
complains 'needs a name'
is 2 toggle "$pid" tiny
is 2 toggle "$pid" tiny maybe
complains 'neither on nor off'
is 2 toggle "$pid" medium on
complains 'is no layer'
is 2 site "$pid" add
is 2 site "$pid" change x
is 1 stats 99999999
complains '^hakctl: 99999999: no such process$'
is 1 stats no-such-name
complains '^hakctl: no-such-name: no process of that name$'
is 1 stats ''
is 1 stats $$
complains "^hakctl: $$: does not run on hakmem"

# ---- ps
is 0 ps
says '^ *PID +COMMAND +ALLOCATED'
says "^ *$pid +subject +15\.[0-9] MiB"
says '^ *PID .* RESIDENT +RSS +OVERHEAD '
is 0 ps --json
json "map(select(.pid == $pid)) | length == 1"
json "map(select(.pid == $pid))[0] | .command == \"subject\" and .is_fresh and
    .allocated >= 16000000 and .resident >= .allocated and .overhead < 1 and
    .threads >= 1 and .arenas_in_use >= 1"
# near FILTER: that number of the last command's JSON is the kernel's VmRSS, but for what
# processors have not added up yet
near() {
	json "($1) - $(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$pid/status") * 1024 |
	    . < 1048576 and . > -1048576"
}
near "map(select(.pid == $pid))[0].rss"
is 2 ps more

# ---- stats
is 0 stats "$pid"
says "^subject \($pid\): up "
says '^  allocated +[0-9.]+ MiB'
says '^  RSS +[0-9.]+ MiB'
says '^  overhead: .* of resident\) is not allocated'
for part in 'thread caches' 'depots' 'free slots in slabs' 'behind blocks over 1 MiB' \
    'dirty pages' 'muzzy pages' 'metadata'; do
	says "^    $part  "
done
for layer in tiny l2 l25 whale; do
	says "^  $layer .* (on|off) "
done
grep -q ' $' "$tmp/said" && fail "stats: spaces at the end of a line"
is 0 stats subject
says "^subject \($pid\)"
ln -s "$tmp" "$tmp/link"
for path in "$tmp/subject" "$tmp/link/subject" "$tmp/../${tmp##*/}/subject"; do
	is 0 stats "$path"
	says "^subject \($pid\)"
done
is 1 stats "$tmp/lib/subject"
complains 'no process of that name$'
is 0 stats "$pid" --arenas --bins --large --mutexes --threads --sites
for title in Arenas Classes Locks Threads Sites; do
	says "^$title"
done
[ "$(awk 'length > 132' "$tmp/said" | wc -l)" -eq 0 ] || fail "stats: very wide lines"
is 0 stats "$pid" --all --json
json '.pid and .command == "subject" and .is_fresh and (.is_stopped | not)'
json '.allocated <= .active and .active <= .resident and .resident <= .mapped'
json '.allocated >= 16000000 and .allocated < 20000000'
near .rss
json '(.resident - .allocated) / .resident == .overhead'
json '.layers | keys == ["l2", "l25", "tiny", "whale"]'
json '.bins | length == 45'
json '[.bins[] | .live * .size] + [.large[] | .live * .size] | add > 16000000'
json '([.bins[], .large[] | .live * .size] | add) + .whale_allocated_bytes == .allocated'
json '[.arenas[].allocated] | add > 16000000'
json '.threads | length >= 1'
json '.mutexes.page_heap.acquired > 0'
json '.sites == []'
is 0 stats "$pid" --json
json 'has("bins") or has("arenas") or has("sites") | not'

# ---- stats --interval, --diff
is 0 stats "$pid" --interval 0.1 --count 3
says '^time +allocated +resident'
[ "$(wc -l <"$tmp/said")" -eq 4 ] || fail "stats --count 3: not three lines"
is 0 stats "$pid" --interval 0.1 --count 3 --json
[ "$(jq -s length "$tmp/said")" -eq 3 ] || fail "stats --count 3 --json: not three"
jq -se '.[2].rates.seconds > 0.05 and .[2].rates.layers.tiny.hits >= 0' "$tmp/said" \
    >/dev/null || fail "stats --interval --json: no rates"
is 0 stats "$pid" --interval 0.1 --count 2 --bins
says '^Classes with slabs'
"$HAKCTL" stats "$pid" --all --json >"$tmp/a.json"
jq '.allocated += 1048576 | .bins[4].live += 7 | .layers.tiny.hits += 90 |
    .layers.tiny.misses += 10' "$tmp/a.json" >"$tmp/b.json"
is 0 stats --diff "$tmp/a.json" "$tmp/b.json"
says '^  allocated .* \+1\.00 MiB '
says '^  tiny +90\.0 % +\+90 +\+10 '
says '^ +64 B +\+7 '
is 0 stats --diff "$tmp/a.json" "$tmp/b.json" --json
json '.allocated == 1048576 and .resident == 0 and (.bins | length) == 1 and
    .bins[0].size == 64 and .bins[0].live == 7 and .layers.tiny.hits == 90'
is 1 stats --diff "$tmp/a.json" "$tmp/none.json"
is 1 stats --diff "$tmp/a.json" "$tmp/subject"
complains 'is not JSON'
echo '{"allocated": "x"}' >"$tmp/c.json"
is 1 stats --diff "$tmp/a.json" "$tmp/c.json"

# ---- get
is 0 get "$pid" stats.allocated tls.tiny.enabled version arenas.dirty_decay_ms
says '^stats\.allocated=[0-9]+$'
says '^tls\.tiny\.enabled=true$'
says '^version=[0-9.]+$'
is 0 get -n "$pid" arenas.dirty_decay_ms
says '^5000$'
is 0 get --json "$pid" stats.resident tls.tiny.enabled version arenas.dirty_decay_ms
json '(.["stats.resident"] | type == "number") and .["tls.tiny.enabled"] == true and
    (.version | type == "string") and .["arenas.dirty_decay_ms"] == 5000'
is 0 get -n "$pid" arenas.nbins arenas.nlextents
{ read -r nbins; read -r nlextents; } <"$tmp/said"
is 0 get "$pid" "stats.arenas.4096.bins.$((nbins - 1)).curregs" \
    "stats.arenas.0.lextents.$((nlextents - 1)).nmalloc"
for name in nonsense stats stats. stats.allocated.x .stats.allocated '' stats..allocated \
    stats.arenas.x.nthreads stats.arenas.9999.nthreads "stats.arenas.0.bins.$nbins.nmalloc" \
    "stats.arenas.0.lextents.$nlextents.nmalloc" \
    stats.arenas.99999999999999999999.nthreads "$(printf '%0300d' 0)"; do
	is 1 get "$pid" "$name"
	complains 'there is no'
done
is 1 get "$pid" thread.idle
complains 'has no value'
# One that is wrong does not keep back the others.
is 1 get "$pid" nonsense version
says '^version='

# ---- set
is 0 set "$pid" arenas.dirty_decay_ms=1234 limit.soft_bytes=512MiB
says '^arenas\.dirty_decay_ms=1234$'
says '^limit\.soft_bytes=536870912$'
is 0 get -n "$pid" arenas.dirty_decay_ms
says '^1234$'
is 0 set --json "$pid" arenas.dirty_decay_ms=5000 limit.soft_bytes=0
json '. == {"arenas.dirty_decay_ms": 5000, "limit.soft_bytes": 0}'
is 0 set "$pid" arena.0.purge
for wrong in arenas.dirty_decay_ms=x arenas.dirty_decay_ms= tls.tiny.enabled=maybe \
    limit.soft_bytes=99999999999999999999999 limit.soft_bytes=12XB \
    limit.soft_bytes=99999999999T arenas.dirty_decay_ms=-2 \
    "arena.0.name=$(printf '%0500d' 0)" "arena.0.name=$(printf '%02000d' 0)"; do
	is 1 set "$pid" "$wrong"
done
is 1 set "$pid" opt.narenas=3
complains 'cannot be set'
is 1 set "$pid" stats.allocated=3
is 1 set "$pid" limit.soft_bytes
complains 'needs a value'
is 1 set "$pid" tls.enabled=maybe
complains 'takes true or false, not maybe'
is 1 set "$pid" arena.0.purge=1
complains 'takes no value'
is 1 set "$pid" arena.999.name=x
for acts in arena.0.reset arena.0.destroy; do
	is 1 set "$pid" $acts
	complains "^hakctl: $pid: $acts: not made by arenas\.create, or in use$"
done
is 0 get -n "$pid" arenas.dirty_decay_ms
says '^5000$'

# ---- list
is 0 list
says '^NAME +TYPE +ACCESS +UNIT +MEANING'
says '^stats\.allocated +size_t +read +bytes '
is 0 list tls.tiny
[ "$(wc -l <"$tmp/said")" -eq 6 ] || fail "list tls.tiny: not five controls"
is 0 list 'stats.mutexes.*.num_ops'
[ "$(wc -l <"$tmp/said")" -eq 7 ] || fail "list with a pattern: not six controls"
is 0 list --json
json 'length > 150 and all(.name and .help and (.type | type == "string"))'
is 1 list no-such-control
complains "no control matches 'no-such-control'"
# All there is to read can be read.
jq -r '.[] | select(.kind == "statistic" and (.name | contains("<") | not)) | .name' \
    "$tmp/said" >/dev/null
"$HAKCTL" list --json | jq -r '.[] | select(.kind == "statistic") | .name' |
    sed 's/<[ij]>/0/g' >"$tmp/names"
# shellcheck disable=SC2046
is 0 get "$pid" $(cat "$tmp/names")
[ "$(wc -l <"$tmp/said")" -eq "$(wc -l <"$tmp/names")" ] || fail "get: not all statistics"
"$HAKCTL" list --json |
    jq -r '.[] | select(.kind == "option" or .kind == "constant") | .name' >"$tmp/names"
# shellcheck disable=SC2046
is 0 get "$pid" $(cat "$tmp/names")

# ---- toggle
for layer in tiny l2 l25; do
	is 0 toggle "$pid" $layer off
	says "^tls\.$layer\.enabled=false$"
	is 0 stats "$pid" --json
	json ".layers.$layer.enabled == false"
	is 0 toggle "$pid" $layer on --json
	json ".[\"tls.$layer.enabled\"] == true"
done
is 0 toggle "$pid" whale off
says '^whale\.enabled=false$'
is 0 toggle "$pid" whale on

# ---- site
is 0 site "$pid" list
says '^no rules$'
is 0 site "$pid" add 'libnothing.so*=nothing'
is 0 site "$pid" list
says '^libnothing\.so\*=nothing$'
is 0 site "$pid" list --json
json 'length == 1 and .[0].rule == "libnothing.so*=nothing" and .[0].arena > 0'
is 0 stats "$pid" --sites
says '^  nothing '
is 0 stats "$pid" --sites --json
json '.sites | length == 1 and .[0].name == "nothing"'
is 1 site "$pid" add 'no name'
complains 'is not PATTERN=NAME'
is 0 site "$pid" remove 'libnothing.so*'
is 1 site "$pid" remove 'libnothing.so*'
complains 'no rule'
is 0 site "$pid" list --json
json '. == []'

# ---- a full disk is no success
if [ -w /dev/full ]; then
	"$HAKCTL" list >/dev/full 2>/dev/null && fail "list >/dev/full: success"
fi

# ---- nor a closed stdout, which no other file takes the place of
for command in list "stats $pid --interval 0.05 --count 3" "stats $pid --json"; do
	# shellcheck disable=SC2086
	"$HAKCTL" $command >&- 2>"$tmp/errors"
	[ $? -eq 1 ] || fail "$command >&-: not exit code 1"
	complains 'cannot write: Bad file descriptor$'
done
is 0 stats "$pid" --json <&-
"$HAKCTL" stats "$pid" >"$tmp/said" 2>&- || fail "stats 2>&-"

done_with
