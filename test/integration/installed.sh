#!/bin/sh
# What a user does after make install: hakmem-config, pkg-config, plain -lhakmem,
# the static library, dlopen, hakmem-run.
# shellcheck source=test/lib.sh
. "${0%/*}/../lib.sh"
: "${BUILDDIR:?}" "${MAKE:=make}" "${CC:=cc}" "${CXX:=c++}"

to=$tmp/usr
$MAKE -C "$BUILDDIR" install prefix="$to" exec_prefix="$to" bindir="$to/bin" \
    libdir="$to/lib" includedir="$to/include" >"$tmp/log" 2>&1 ||
    { cat "$tmp/log"; exit 1; }
# The scripts hold the configured prefix.
for f in "$to"/bin/hakmem-* "$to"/lib/pkgconfig/hakmem.pc; do
	sed -i -e "s|^prefix=.*|prefix=$to|" -e "s|^libdir=.*|libdir=$to/lib|" \
	    -e "s|^includedir=.*|includedir=$to/include|" "$f"
done

cat >"$tmp/use.c" <<'EOF'
#include <hakmem/hakmem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static int served;
static void line(void *seen, const char *text)
{
	unsigned long n;
	if (sscanf(text, "stats.allocated: %lu", &n) == 1)
		*(int *)seen = n >= 5000000;
}
int main(void)
{
	char *p = malloc(5000000), *q = hak_malloc(10);
	if (!p || !q)
		return 1;
	memset(p, 1, 5000000);
	hak_malloc_stats_print(line, &served, NULL);
	free(p);
	hak_free(q);
	return served ? 0 : 3;
}
EOF
cat >"$tmp/plugin.c" <<'EOF'
#include <dlfcn.h>
#include <stdio.h>
int main(int argc, char **argv)
{
	void *library = dlopen(argv[argc - 1], RTLD_NOW | RTLD_LOCAL);
	if (!library) {
		puts(dlerror());
		return 1;
	}
	void *(*take)(unsigned long) = (void *(*)(unsigned long))dlsym(library, "hak_malloc");
	void (*give)(void *) = (void (*)(void *))dlsym(library, "hak_free");
	for (int i = 1; i < 100000; i++)
		give(take(i));
	dlclose(library);
	return 0;
}
EOF

try() {
	what=$1
	shift
	"$@" >"$tmp/log" 2>&1 || { fail "$what"; cat "$tmp/log"; }
}

# malloc is hakmem's only where the library overrides it.
served=0
overrides || served=3
serves() {
	"$@"
	[ $? -eq $served ]
}

config=$to/bin/hakmem-config
# Flags are lists of words.
# shellcheck disable=SC2046
try "compile by hakmem-config" $CC "$tmp/use.c" -o "$tmp/a" $($config --cflags --libs)
try "run what hakmem-config linked" serves "$tmp/a"
if have pkg-config; then
	export PKG_CONFIG_PATH="$to/lib/pkgconfig"
	# shellcheck disable=SC2046
	try "compile by pkg-config" $CC "$tmp/use.c" -o "$tmp/b" $(pkg-config --cflags --libs hakmem)
	try "run what pkg-config linked" serves env LD_LIBRARY_PATH="$to/lib" "$tmp/b"
fi
try "compile with -lhakmem" $CC "$tmp/use.c" -I"$to/include" -L"$to/lib" -lhakmem -o "$tmp/c"
try "run what -lhakmem linked" serves env LD_LIBRARY_PATH="$to/lib" "$tmp/c"
try "link with libhakmem.a" $CC "$tmp/use.c" -I"$to/include" "$to/lib/libhakmem.a" -pthread -o "$tmp/d"
try "run with libhakmem.a" serves "$tmp/d"
try "link all static" $CC -static "$tmp/use.c" -I"$to/include" "$to/lib/libhakmem.a" -pthread -o "$tmp/e"
try "run all static" serves "$tmp/e"
cat >"$tmp/new.cc" <<'EOF'
#include <new>
int main()
{
	volatile unsigned long huge = 1UL << 62;
	try {
		delete[] new char[huge];
	} catch (const std::bad_alloc &) {
		return 0;
	}
	return 1;
}
EOF
for static in '' -static; do
	# shellcheck disable=SC2086
	try "link C++ $static with libhakmem.a" $CXX $static "$tmp/new.cc" "$to/lib/libhakmem.a" -pthread -o "$tmp/g"
	try "new throws, $static with libhakmem.a" "$tmp/g"
done
try "compile for dlopen" $CC "$tmp/plugin.c" -o "$tmp/f" -ldl
try "dlopen" "$tmp/f" "$to/lib/libhakmem.so.0"
run=$to/bin/hakmem-run
# runs CODE COMMAND...: with that code; what it prints to stdout and stderr is kept
runs() {
	code=$1
	shift
	"$@" >"$tmp/said" 2>"$tmp/errors"
	got=$?
	[ $got -eq "$code" ] || fail "$*: exit code $got, not $code"
}
runs 0 "$run" --help
grep -q '^Usage: hakmem-run PROGRAM' "$tmp/said" || fail "hakmem-run --help: no usage"
runs 2 "$run"
grep -q '^Usage: hakmem-run PROGRAM' "$tmp/errors" || fail "hakmem-run: no usage"
runs 2 "$run" --nonsense
grep -q "unknown option '--nonsense'" "$tmp/errors" || fail "hakmem-run --nonsense"
runs 0 "$run" -- true
[ -s "$tmp/errors" ] && fail "hakmem-run true: $(cat "$tmp/errors")"
runs $served "$run" "$tmp/e"
grep -q 'e is linked statically' "$tmp/errors" || fail "hakmem-run of a static program: silent"
runs 0 "$run" "$tmp/f" "$to/lib/libhakmem.so.0"
[ -s "$tmp/errors" ] && fail "hakmem-run of a dynamic program: $(cat "$tmp/errors")"
if overrides; then
	try "hakmem-run" sh -c "HAKMEM_CONF=stats_print:true '$run' true 2>&1 | grep -q '^tls.tiny.hits: '"
fi

[ $failed -eq 0 ]
