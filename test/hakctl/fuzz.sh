#!/bin/sh
# Damaged and hostile segments: HAKCTL_FUZZ rounds (100), from seed HAKCTL_SEED.
# shellcheck source=test/lib.sh
. "${0%/*}/../lib.sh"
: "${HAKCTL:=${BUILDDIR:-.}/hakctl}"
[ -x "$HAKCTL" ] || skip "no hakctl was built"

fuzz=${BUILDDIR:-.}/test/hakctl/fuzz
if [ ! -x "$fuzz" ]; then
	fuzz=$tmp/fuzz
	${CC:-cc} -std=gnu11 -g -O1 -I "$srctest/../src" "$srctest/hakctl/fuzz.c" \
	    -o "$fuzz" -pthread || exit 1
fi
seed=${HAKCTL_SEED:-$(date +%s)}
echo "fuzz.sh: seed $seed"
timeout 900 "$fuzz" "$HAKCTL" "${HAKCTL_FUZZ:-100}" "$seed"
