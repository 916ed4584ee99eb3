#!/bin/sh
# A real server under load: what hakctl says is what the server counts itself.
# shellcheck source=test/hakctl/lib.sh
. "${0%/*}/lib.sh"
have redis-server || skip "no redis-server"
have redis-benchmark || skip "no redis-benchmark"

socket=$tmp/socket
"$BUILDDIR/bin/hakmem-run" redis-server --unixsocket "$socket" --port 0 --save '' \
    --appendonly no --dir "$tmp" >"$tmp/log" 2>&1 &
pid=$!
subjects="$subjects $pid"
wait_for redis-server redis-cli -s "$socket" ping
wait_for "its segment" "$HAKCTL" stats "$pid"
redis-benchmark -s "$socket" -q -r 100000 -d 300 -n 2000000 -t set,lpush >/dev/null &
load=$!
subjects="$subjects $load"
sleep 1

is 0 stats redis-server --interval 0.3 --count 3 --json
jq -se '.[2].rates.allocations > 1000 and (map(.is_fresh) | all)' "$tmp/said" >/dev/null ||
    fail "no rates under load"
is 0 ps
says "^ *$pid +redis-server "
is 0 toggle "$pid" tiny off
is 0 toggle "$pid" tiny on
is 0 purge "$pid"
is 0 stats "$pid" --all
kill "$load"
wait "$load" 2>/dev/null
sleep 0.3

# used_memory: the sum of usable sizes of what redis allocates; libraries add a bit.
used=$(redis-cli -s "$socket" info memory | sed -n 's/^used_memory:\([0-9]*\).*/\1/p')
is 0 stats "$pid" --json
json ".allocated > $used * 0.97 and .allocated < $used * 1.05 + 3000000"
rss=$(sed -n 's/^Rss: *\([0-9]*\) kB/\1/p' "/proc/$pid/smaps_rollup")
echo "redis.sh: used_memory $used, allocated $(jq .allocated "$tmp/said"), resident \
$(jq .resident "$tmp/said"), Rss of all the process ${rss} kB"

done_with
