# shellcheck shell=sh
# Sourced by the test scripts. Takes from the environment
#   HAKMEM_LIB  the libhakmem.so under test
#   BUILDDIR    where the test programs were built; one that is not there is
#               built here, by itself
# and gives $srctest (the folder of the tests), $tmp (removed at exit) and:

srctest=${0%/*}/..
: "${HAKMEM_LIB:?the path of libhakmem.so}"
case $HAKMEM_LIB in
/*) ;;
*) HAKMEM_LIB=$PWD/$HAKMEM_LIB ;;
esac
tmp=$(mktemp -d "${TMPDIR:-/tmp}/hakmem-test.XXXXXX") || exit 1
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
failed=0

# say that something failed, and go on
fail() {
	echo "FAILED: $*"
	failed=$((failed + 1))
}

# skip the whole script
skip() {
	echo "skip: $*"
	exit 77
}

have() {
	command -v "$1" >/dev/null 2>&1
}

# the library overrides malloc (configure --without-override does not)
overrides() {
	nm -D --defined-only "$HAKMEM_LIB" | grep -q ' [TWi] malloc$'
}

# set $prog to the program built from test/$1.c (or .cpp)
program() {
	prog=${BUILDDIR:-.}/test/$1
	if [ -x "$prog" ]; then
		return 0
	fi
	prog=$tmp/$(echo "$1" | tr / _)
	if [ -x "$prog" ]; then
		return 0
	fi
	if [ -f "$srctest/$1.cpp" ]; then
		${CXX:-c++} -std=c++17 -g -O1 -I "$srctest/../include" "$srctest/$1.cpp" \
		    -o "$prog" -pthread -L "${HAKMEM_LIB%/*}" -lhakmem \
		    -Wl,-rpath,"${HAKMEM_LIB%/*}"
	else
		${CC:-cc} -std=gnu11 -g -O1 -I "$srctest/../include" \
		    "$srctest/$1.c" -o "$prog" -pthread \
		    -L "${HAKMEM_LIB%/*}" -lhakmem \
		    -Wl,-rpath,"${HAKMEM_LIB%/*}"
	fi || exit 1
}
