#!/bin/sh
# HAKMEM_CONF: what is good applies without a word; what is bad is named by one
# exact line each, and the rest applies.
# shellcheck source=test/lib.sh
. "${0%/*}/../lib.sh"
# shellcheck disable=SC3045
ulimit -c 0

program integration/conf_probe
probe=$prog
where='hakmem: HAKMEM_CONF:'

# expect CONF STATUS [LINE...]: exit status, and all that stderr may say
expect() {
	conf=$1
	status=$2
	shift 2
	: >"$tmp/expected"
	for line; do
		echo "$where $line" >>"$tmp/expected"
	done
	# In the background, or the shell adds "Aborted" to the messages.
	HAKMEM_CONF=$conf timeout 60 "$probe" >"$tmp/out" 2>"$tmp/err" &
	wait $! 2>/dev/null
	got=$?
	[ $got -eq "$status" ] || fail "HAKMEM_CONF=$conf: status $got"
	if ! cmp -s "$tmp/expected" "$tmp/err"; then
		fail "HAKMEM_CONF=$conf: wrong messages"
		sed 's/^/    expected /' "$tmp/expected"
		sed 's/^/    got      /' "$tmp/err"
	fi
}

# has LINE: the statistics of the last run contain this line
has() {
	grep -qx "$1" "$tmp/out" || fail "HAKMEM_CONF=$conf: no line '$1'"
}

statistics=true
HAKMEM_CONF='' "$probe" | grep -qx 'config.stats: true' || statistics=false

# Good ones.
expect '' 0
expect narenas:3 0
$statistics && has 'arenas.narenas: 3'
expect narenas:1 0
$statistics && has 'opt.narenas: 1'
expect dirty_decay_ms:0,muzzy_decay_ms:0 0
expect dirty_decay_ms:-1,muzzy_decay_ms:-1 0
expect dirty_decay_ms:10000,muzzy_decay_ms:500 0
for option in tls_tiny tls_l2 tls_l25 whale zero junk background_thread \
    abort_conf; do
	expect $option:true 0
	expect $option:false 0
done
for thp in default always never; do
	expect thp:$thp 0
done
expect narenas:2,tls_tiny:false,tls_l2:false,tls_l25:false,whale:false 0
if $statistics; then
	has 'opt.narenas: 2'
	for layer in tls.tiny tls.l2 tls.l25 whale; do
		has "$layer.hits: 0"
	done
fi
# The last one counts.
expect narenas:2,narenas:4 0
$statistics && has 'opt.narenas: 4'

# Bad ones.
expect foo:1 0 "unknown option 'foo'"
expect Narenas:1 0 "unknown option 'Narenas'"
expect ' narenas:1' 0 "unknown option ' narenas'"
expect :1 0 "unknown option ''"
for value in x 0 -1 2x '' 1.5 257 99999999999999999999 ' 2'; do
	expect "narenas:$value" 0 "bad value '$value' for 'narenas', which takes 1 to 256"
done
for value in -2 x '' 1s 99999999999999999999; do
	expect "dirty_decay_ms:$value" 0 \
	    "bad value '$value' for 'dirty_decay_ms', which takes -1 to 86400000"
	expect "muzzy_decay_ms:$value" 0 \
	    "bad value '$value' for 'muzzy_decay_ms', which takes -1 to 86400000"
done
for value in yes 1 TRUE '' truee tru; do
	expect "zero:$value" 0 "bad value '$value' for 'zero', which takes true or false"
	expect "tls_l25:$value" 0 "bad value '$value' for 'tls_l25', which takes true or false"
done
for value in sometimes '' true; do
	expect "thp:$value" 0 "bad value '$value' for 'thp', which takes default, always or never"
done
for value in x '' -1 K 1KB 1k 1iB 9999999T 010x; do
	expect "limit_soft_bytes:$value" 0 "bad value '$value' for 'limit_soft_bytes', which takes bytes, as 4096, 64K or 2GiB"
done
# Bytes may have a unit; a number that begins with 0 is decimal all the same.
for pair in 4096=4096 64K=65536 2GiB=2147483648 010=10 0x10=16 3MiB=3145728; do
	expect "limit_soft_bytes:${pair%=*}" 0
	$statistics && has "limit.soft_bytes: ${pair#*=}"
done
# A value goes on to the next comma.
expect zero:true:false 0 "bad value 'true:false' for 'zero', which takes true or false"

# Each is named once, and the rest applies.
expect foo:1,narenas:3,zero:maybe,bar:2,tls_tiny:false 0 "unknown option 'foo'" \
    "bad value 'maybe' for 'zero', which takes true or false" "unknown option 'bar'"
if $statistics; then
	has 'arenas.narenas: 3'
	has 'tls.tiny.hits: 0'
fi
expect narenas,zero:false 0 "'narenas' is not name:value"

# A very long one is cut, not a crash.
long=$(printf '%05000d' 0)
HAKMEM_CONF=$long:$long,narenas:3 timeout 60 "$probe" >"$tmp/out" 2>"$tmp/err" ||
    fail "a long option: status $?"
[ "$(wc -l <"$tmp/err")" -eq 1 ] || fail "a long option: not one line"
conf=long
$statistics && has 'arenas.narenas: 3'

# abort_conf, wherever it stands.
expect abort_conf:true,narenas:2 0
expect abort_conf:true,foo:1 134 "unknown option 'foo'"
expect foo:1,zero:x,abort_conf:true 134 "unknown option 'foo'" \
    "bad value 'x' for 'zero', which takes true or false"
expect abort_conf:false,foo:1 0 "unknown option 'foo'"

# confirm_conf: what was taken, a line each, wherever it stands.
HAKMEM_CONF=narenas:2,foo:1,zero:x,confirm_conf:true timeout 60 "$probe" >"$tmp/out" \
    2>"$tmp/err" || fail "confirm_conf: status $?"
[ "$(grep -Ev "'foo'|'zero'" "$tmp/err")" = "hakmem: HAKMEM_CONF: 'narenas:2'
hakmem: HAKMEM_CONF: 'confirm_conf:true'" ] || fail "confirm_conf: $(cat "$tmp/err")"

# stats_print: at exit, to stderr.
if $statistics; then
	HAKMEM_CONF=stats_print:true timeout 60 "$probe" >"$tmp/out" 2>"$tmp/err" ||
	    fail "stats_print: status $?"
	for key in arenas.narenas stats.allocated stats.mapped tls.tiny.hits whale.misses; do
		grep -Eqx "$key: [0-9]+" "$tmp/err" ||
		    fail "stats_print: no '$key: N'"
	done
	expect stats_print:false 0
fi

[ "$failed" -eq 0 ] || exit 1
echo "integration/conf.sh: ok"
