#!/bin/sh
# hakctl export: text, files, JSON, the HTTP endpoint, and what promtool and a real
# Prometheus make of it.
# shellcheck source=test/hakctl/lib.sh
. "${0%/*}/lib.sh"
have curl || skip "no curl"
have promtool || skip "no promtool (Debian: prometheus)"
have prometheus || skip "no prometheus"

subject sleep
one=$pid
subject spin 2

# metric FILE NAME PID: its value
metric() {
	sed -n "s/^$2{pid=\"$3\",[^}]*} //p" "$1"
}

# ---- Text
is 0 set "$one" limit.soft_bytes=512M pressure.threshold=2500 arenas.dirty_decay_ms=1500 arenas.muzzy_decay_ms=-1
is 0 export "$one" "$pid"
text=$tmp/text
cp "$tmp/said" "$text"
promtool check metrics <"$text" >"$tmp/promtool" 2>&1 || {
	fail "promtool check metrics"
	cat "$tmp/promtool"
}
[ "$(tail -n 1 "$text")" = '# EOF' ] || fail "export: no # EOF at the end"
[ "$(metric "$text" hakmem_allocated_bytes "$one")" -ge 16000000 ] ||
	fail "export: hakmem_allocated_bytes"
[ "$(metric "$text" hakmem_process_resident_bytes "$one")" -ge 16000000 ] ||
	fail "export: hakmem_process_resident_bytes"
[ "$(metric "$text" hakmem_tls_tiny_hits_total "$pid")" -gt 0 ] ||
	fail "export: hakmem_tls_tiny_hits_total"
grep -Eq "^hakmem_arena_threads\{pid=\"$pid\",command=\"subject\",arena=\"0\"\} [1-9]" \
    "$text" || fail "export: hakmem_arena_threads"
[ "$(metric "$text" hakmem_build_info "$one")" -eq 1 ] || fail "export: hakmem_build_info"
[ "$(metric "$text" hakmem_limit_soft_bytes "$one")" -eq 536870912 ] ||
	fail "export: hakmem_limit_soft_bytes"
[ "$(metric "$text" hakmem_dirty_decay_seconds "$one")" = 1.5 ] ||
	fail "export: hakmem_dirty_decay_seconds"
[ "$(metric "$text" hakmem_muzzy_decay_seconds "$one")" = -1 ] ||
	fail "export: hakmem_muzzy_decay_seconds"
metric "$text" hakmem_pressure_some_ratio "$one" | grep -Eq '^(0(\.[0-9]+)?|1)$' ||
	fail "export: hakmem_pressure_some_ratio"
[ "$(metric "$text" hakmem_pressure_threshold_ratio "$one")" = 0.25 ] ||
	fail "export: hakmem_pressure_threshold_ratio"
[ "$(metric "$text" hakmem_pressure_enabled "$one")" -eq 1 ] ||
	fail "export: hakmem_pressure_enabled"
metric "$text" hakmem_uptime_seconds_total "$one" | grep -Eq '^[0-9]+\.[0-9]{2,9}$' ||
	fail "export: hakmem_uptime_seconds_total"

# A family for each statistic, by its name: ctl.def is the only list of names.
grep '^STAT(' "$srctest/../src/ctl/ctl.def" | grep -c ', \(GAUGE\|COUNTER\), ' >"$tmp/stats"
families=$(grep -c '^# TYPE hakmem_' "$text")
# and those of hakctl's own, build_info among them
others=$(grep -c '^	OTHER(' "$srctest/../src/hakctl/openmetrics.c")
[ "$families" -eq $(($(cat "$tmp/stats") + others + 1)) ] ||
	fail "export: $families families, $(cat "$tmp/stats") statistics"
[ -z "$(sed -n 's/^# TYPE \([^ ]*\).*/\1/p' "$text" | sort | uniq -d)" ] ||
	fail "export: a name twice"
[ "$(grep -c '^# HELP' "$text")" -eq "$families" ] || fail "export: HELP lines"
! grep -E '^[^#]' "$text" |
    grep -Ev '^hakmem_[a-z0-9_]+\{pid="[0-9]+",command="subject"(,version="[0-9.]+"|,arena="[0-9]+"(,site="[^"]+")?)?\} -?[0-9.]+$' ||
	fail "export: lines that are no samples"

# ---- OpenMetrics: a counter's family has no _total, and units are told
is 0 export subject --format openmetrics
open=$tmp/open
cp "$tmp/said" "$open"
grep -q '^# TYPE hakmem_tls_tiny_hits counter$' "$open" || fail "openmetrics: TYPE"
grep -q '^# TYPE hakmem_build info$' "$open" || fail "openmetrics: TYPE of info"
grep -q '^# UNIT hakmem_pressure_some_ratio ratio$' "$open" || fail "openmetrics: UNIT ratio"
grep -q '^# UNIT hakmem_uptime_seconds seconds$' "$open" || fail "openmetrics: UNIT"
grep -q '^hakmem_tls_tiny_hits_total{' "$open" || fail "openmetrics: samples"
awk '/^# TYPE/ { type = $3 } /^# UNIT/ && $3 !~ "_" $4 "$" { exit 1 }
    /^# (UNIT|HELP)/ && $3 != type { exit 1 }
    /^[^#]/ && index($0, type) != 1 { exit 1 }' "$open" ||
	fail "openmetrics: families are not in order"

# ---- All processes, by name, JSON
is 0 export
says "^hakmem_resident_bytes\{pid=\"$one\""
says "^hakmem_resident_bytes\{pid=\"$pid\""
is 0 export "$one" --json
json 'map(select(.name == "hakmem_allocated_bytes"))[0] | .type == "gauge" and
    .unit == "bytes" and .samples[0].value >= 16000000 and
    .samples[0].labels.pid == "'"$one"'"'
json 'map(.name) | . == unique or length == (unique | length)'

# ---- Files
file=$tmp/hakmem.prom
echo old >"$file"
is 0 export -o "$file"
promtool check metrics <"$file" >/dev/null 2>&1 || fail "export -o: promtool"
[ -z "$(find "$tmp" -name '.hakmem.prom*')" ] || fail "export -o: leaves files"
is 1 export -o "$tmp/none/x.prom"
complains '^hakctl: cannot write .*: No such file or directory$'
# who reads it never meets a half
(for _ in $(seq 100); do "$HAKCTL" export -o "$file"; done) &
writer=$!
while kill -0 $writer 2>/dev/null; do
	[ "$(tail -n 1 "$file")" = '# EOF' ] || {
		fail "export -o: half a file"
		break
	}
done
wait $writer

# ---- A process that is not there does not keep the others from being told
is 1 export 99999999 "$one"
complains '^hakctl: 99999999: no such process$'
says "^hakmem_resident_bytes\{pid=\"$one\""
is 1 export $$
complains "^hakctl: $$: does not run on hakmem"
is 1 export no-such-name
complains 'no process of that name'
is 2 export --format xml
is 2 export --nonsense
is 2 export --listen x
is 2 export --listen 127.0.0.1:99999
is 2 export --listen 0 --json
is 1 export --listen 192.0.2.1:0
complains '^hakctl: cannot listen on 192.0.2.1:0: '
is 0 export --help

# ---- HTTP
"$HAKCTL" export --listen 127.0.0.1:0 subject >"$tmp/where" 2>"$tmp/errors" &
endpoint=$!
subjects="$subjects $endpoint"
wait_for "the endpoint" grep -q ^http "$tmp/where"
url=$(cat "$tmp/where")
curl -sS -D "$tmp/head" "$url" >"$tmp/body"
grep -qi '^content-type: text/plain; version=0.0.4' "$tmp/head" || fail "http: type"
promtool check metrics <"$tmp/body" >/dev/null 2>&1 || fail "http: promtool"
curl -sS -D "$tmp/head" -H 'Accept: application/openmetrics-text; version=1.0.0, */*;q=0.1' \
    "$url" >"$tmp/body"
grep -qi '^content-type: application/openmetrics-text; version=1.0.0' "$tmp/head" ||
	fail "http: OpenMetrics' type"
grep -q '^# TYPE hakmem_tls_tiny_hits counter$' "$tmp/body" || fail "http: OpenMetrics"
curl -sS -I "$url" | grep -q '^HTTP/1.1 200' || fail "http: HEAD"
curl -sS -d x -o /dev/null -w '%{http_code}\n' "$url" | grep -q 405 || fail "http: POST"
curl -sS -o /dev/null -w '%{http_code}\n' "${url}x" | grep -q 404 || fail "http: 404"
# On loopback alone, and no more connections than there are to be.
if have ss; then
	ss -Hltn "sport = :$(echo "$url" | tr -dc '0-9:/' | sed 's|.*:\([0-9]*\)/*|\1|')" |
	    grep -q ' 127\.0\.0\.1:' || fail "http: not on loopback"
fi
if have python3; then
	python3 - "$url" "$endpoint" <<-'PYTHON' || fail "http: connections without bound"
	import os, socket, sys, time, urllib.parse
	u = urllib.parse.urlparse(sys.argv[1])
	idle = [socket.create_connection((u.hostname, u.port)) for _ in range(30)]
	time.sleep(0.5)
	files = len(os.listdir(f"/proc/{sys.argv[2]}/fd"))
	sys.exit(0 if 16 <= files < 28 else f"{files} files open")
	PYTHON
	wait_for "the endpoint after a flood" curl -sSf "$url"
fi

# ---- A real Prometheus scrapes it
port=$((20000 + $$ % 20000))
cat >"$tmp/prometheus.yml" <<-END
	global: {scrape_interval: 1s}
	scrape_configs:
	- job_name: hakmem
	  static_configs: [{targets: ["$(echo "$url" | cut -d/ -f3)"]}]
END
prometheus --config.file="$tmp/prometheus.yml" --storage.tsdb.path="$tmp/tsdb" \
    --web.listen-address=127.0.0.1:$port >"$tmp/prometheus.log" 2>&1 &
server=$!
subjects="$subjects $server"
# query EXPRESSION: the values
query() {
	curl -sSG "http://127.0.0.1:$port/api/v1/query" --data-urlencode "query=$1" |
	    jq -r '.data.result[].value[1]'
}
# holds EXPRESSION: it has a result
holds() {
	[ -n "$(query "$1")" ]
}
wait_for "a scrape" holds 'up{job="hakmem"} == 1'
wait_for "allocated" holds "hakmem_allocated_bytes{pid=\"$one\"} >= 16000000"
wait_for "a rate" holds "rate(hakmem_tls_tiny_hits_total{pid=\"$pid\"}[10s]) > 0"
holds 'hakmem_resident_bytes / (hakmem_limit_soft_bytes > 0) < 0.9' ||
	fail "prometheus: no alert on the soft limit"
holds 'scrape_samples_scraped > 50' || fail "prometheus: few samples"
curl -sS "http://127.0.0.1:$port/api/v1/metadata?metric=hakmem_tls_tiny_hits_total" \
    >"$tmp/said"
grep -q counter "$tmp/said" || curl -sS \
    "http://127.0.0.1:$port/api/v1/metadata?metric=hakmem_tls_tiny_hits" >"$tmp/said"
json '[.data[][]] | any(.type == "counter" and (.help | length) > 0)'
curl -sS "http://127.0.0.1:$port/api/v1/targets" | jq -r '.data.activeTargets[].lastError' \
    >"$tmp/errors"
[ -z "$(cat "$tmp/errors")" ] || fail "prometheus: $(cat "$tmp/errors")"
kill -TERM $server
wait $server

# ---- It ends when it is told to
kill -TERM $endpoint
wait $endpoint
got=$?
[ $got -eq 0 ] || fail "http: exit code $got after SIGTERM"
rm "$tmp/where"
"$HAKCTL" export --listen 0 >"$tmp/where" &
endpoint=$!
subjects="$subjects $endpoint"
wait_for "the endpoint" grep -q ^http "$tmp/where"
# A shell has what it starts in the background ignore SIGINT, but who waits for it
# gets it all the same.
kill -INT $endpoint
wait_for "the end after SIGINT" sh -c "! kill -0 $endpoint"

done_with
