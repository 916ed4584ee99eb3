#!/bin/sh
# Damaged and hostile segments, and processes without one whose memory is damaged:
# HAKCTL_FUZZ rounds of each (100), from seed HAKCTL_SEED.
# shellcheck source=test/lib.sh
. "${0%/*}/../lib.sh"
: "${HAKCTL:=${BUILDDIR:-.}/hakctl}"
[ -x "$HAKCTL" ] || skip "no hakctl was built"

for name in fuzz fuzz_memory; do
	${CC:-cc} -std=gnu11 -g -O1 -I "${BUILDDIR:-.}" -I "$srctest/../src" \
	    "$srctest/hakctl/$name.c" -o "$tmp/$name" -pthread || exit 1
done
rounds=${HAKCTL_FUZZ:-100}
seed=${HAKCTL_SEED:-$(date +%s)}
echo "fuzz.sh: seed $seed"
timeout 900 "$tmp/fuzz" "$HAKCTL" "$rounds" "$seed" || exit 1
overrides || exit 0
HAKMEM_CONF=background_thread:false,narenas:2 LD_PRELOAD=$HAKMEM_LIB \
    timeout 900 "$tmp/fuzz_memory" "$HAKCTL" "$rounds" "$seed"
