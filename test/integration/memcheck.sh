#!/bin/sh
# Under valgrind's memcheck hakmem tells what it allocates and frees: mistakes
# with its objects are reported, and correct use is not.
# shellcheck source=test/lib.sh
. "${0%/*}/../lib.sh"

have valgrind || skip "memcheck.sh: no valgrind"
! nm -D "$HAKMEM_LIB" | grep -q ' U __[at]san_' ||
    skip "memcheck.sh: this build has a sanitizer"
program integration/memcheck_probe
probe=$prog

check() {
	timeout 300 valgrind --error-exitcode=9 "$probe" \
	    ${1:+"$1"} >"$tmp/out" 2>&1
	status=$?
	if ! grep -q 'ERROR SUMMARY' "$tmp/out"; then
		skip "memcheck.sh: valgrind does not run here"
	fi
}

check ''
if [ $status -ne 0 ]; then
	fail "memcheck reports correct use"
	grep '^==' "$tmp/out" | head -n 30
fi
check read
if ! grep -q "inside a block of size .* free'd" "$tmp/out" &&
    ! grep -q 'HAVE_VALGRIND_MEMCHECK_H 1' "${BUILDDIR:-.}/config.h" 2>/dev/null
then
	skip "memcheck.sh: built without valgrind's headers"
fi
[ "$(grep -c 'Invalid read of size 1' "$tmp/out")" -ge 1 ] ||
    fail "no read of freed memory seen"
check write
grep -q 'Invalid write of size 1' "$tmp/out" ||
    fail "no write to freed memory seen"
check uninitialized
grep -q 'depends on uninitialised value' "$tmp/out" ||
    fail "no use of uninitialized memory seen"

[ "$failed" -eq 0 ] || exit 1
echo "integration/memcheck.sh: ok"
