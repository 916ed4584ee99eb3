#!/bin/sh
# Damaged and hostile segments, and processes without one whose memory is damaged:
# HAKCTL_FUZZ rounds of each (100), from seed HAKCTL_SEED. And a segment that others
# write to.
# shellcheck source=test/lib.sh
. "${0%/*}/../lib.sh"
: "${HAKCTL:=${BUILDDIR:-.}/hakctl}"
[ -x "$HAKCTL" ] || skip "no hakctl was built"

mkfifo "$tmp/in"
for name in fuzz fuzz_memory intruder subject; do
	${CC:-cc} -std=gnu11 -g -O1 -I "${BUILDDIR:-.}" -I "$srctest/../src" \
	    "$srctest/hakctl/$name.c" -o "$tmp/$name" -pthread -ldl || exit 1
done
rounds=${HAKCTL_FUZZ:-100}
seed=${HAKCTL_SEED:-$(date +%s)}
echo "fuzz.sh: seed $seed"
timeout 900 "$tmp/fuzz" "$HAKCTL" "$rounds" "$seed" || exit 1
overrides || exit 0
HAKMEM_CONF=background_thread:false,narenas:2 LD_PRELOAD=$HAKMEM_LIB \
    timeout 900 "$tmp/fuzz_memory" "$HAKCTL" "$rounds" "$seed" || exit 1

# The other way round: a segment that is written to by others does the process no harm.
# (Under a name that the tests beside this one do not look for.)
mv "$tmp/subject" "$tmp/victim"
LD_PRELOAD=$HAKMEM_LIB "$tmp/victim" sleep >"$tmp/out" 2>&1 <"$tmp/in" &
pid=$!
exec 9>"$tmp/in"
for _ in $(seq 200); do
	"$HAKCTL" get "$pid" version >/dev/null 2>&1 && break
	sleep 0.05
done
"$tmp/intruder" "$pid" || fail "intruder"
kill -0 "$pid" || fail "the process died: $(cat "$tmp/out")"
exec 9>&-
kill "$pid"
[ "$failed" -eq 0 ]
