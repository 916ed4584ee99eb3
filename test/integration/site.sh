#!/bin/sh
# Site rules: patterns, sizes and functions, objects that come and go at one address,
# and a locale in which the C library allocates while it matches.
# shellcheck source=test/lib.sh
. "${0%/*}/../lib.sh"
overrides || skip "hakmem is not preloadable"
include=$srctest/../include

cat >"$tmp/who.c" <<'EOC'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <hakmem/hakmem.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The name of the arena that an object lies in; "" where it has none. */
static const char *arena_of(void *p)
{
	static char name[64];
	const char *text = "";
	unsigned arena = 0;
	size_t size = sizeof(arena), length = sizeof(text);

	if (hak_mallctl("arenas.lookup", &arena, &size, &p, sizeof(p)) != 0)
		return "?";
	snprintf(name, sizeof(name), "arena.%u.name", arena);
	return hak_mallctl(name, &text, &length, NULL, 0) == 0 ? text : "?";
}

static int wrong;

static void is(const char *what, void *p, const char *name)
{
	if (strcmp(arena_of(p), name) != 0) {
		printf("%s: in '%s', not '%s'\n", what, arena_of(p), name);
		wrong = 1;
	}
	free(p);
}

static void *from(const char *path)
{
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	void *(*get)(void) = (void *(*)(void))dlsym(library, "get");
	void *p = get();

	dlclose(library);
	return p;
}

int main(int argc, char **argv)
{
	const char *own = argv[1];
	void *aligned = NULL;

	setlocale(LC_ALL, "");
	is("malloc", malloc(10), own);
	is("malloc of 5000", malloc(5000), own);
	is("malloc of 100000", malloc(100000), own);
	is("malloc of 5 MiB", malloc(5 << 20), own);
	is("calloc", calloc(3, 100), own);
	is("realloc", realloc(malloc(10), 3000), own);
	is("memalign", aligned_alloc(256, 512), own);
	if (posix_memalign(&aligned, 64, 640) == 0)
		is("posix_memalign", aligned, own);
	/* Many, so that caches are filled and emptied. */
	for (int round = 0; round < 3; round++) {
		static void *p[5000];
		for (int i = 0; i < 5000; i++)
			p[i] = malloc(i % 3000);
		for (int i = 0; i < 5000; i++)
			is("one of many", p[i], own);
	}
	if (argc == 4)
		/* The second is likely mapped where the first was. */
		for (int i = 0; i < 20; i++) {
			is("the first library", from(argv[2]), "first");
			is("the second library", from(argv[3]), "second");
		}
	/* The same caller, led elsewhere each time that the rules change. */
	static const char *const rules[] = { "who=x", "who=y" };
	for (int i = 0; i < 4 && argc == 2 && !*own; i++) {
		const char *rule = rules[i % 2];
		if (hak_mallctl("site.add", NULL, NULL, &rule, sizeof(rule)) != 0)
			wrong = 1;
		for (int n = 0; n < 100; n++)
			is("by another rule", malloc(40 + 1000 * (n % 3)), rule + 4);
	}
	void *here = hak_alloc_here(10);
	if (!strstr(arena_of(here), "who.c:")) {
		printf("hak_alloc_here: in '%s'\n", arena_of(here));
		wrong = 1;
	}
	free(here);
	unsigned site = hak_site("mine");
	is("a site by name", hak_alloc(10, site), "mine");
	return wrong;
}
EOC
${CC:-cc} -std=gnu11 -O1 -fno-builtin -I "$include" "$tmp/who.c" -o "$tmp/who" \
    -L "${HAKMEM_LIB%/*}" -lhakmem -Wl,-rpath,"${HAKMEM_LIB%/*}" -ldl || exit 1
for name in first second; do
	echo '#include <stdlib.h>
	void *get(void) { void *volatile p = malloc(40); return p; }' >"$tmp/$name.c"
	${CC:-cc} -O1 -shared -fPIC "$tmp/$name.c" -o "$tmp/lib$name.so" || exit 1
done

# try RULES NAME: what the program itself allocates lies in the arena NAME.
try() {
	LC_ALL=C.UTF-8 HAKMEM_CONF=$1 timeout 60 "$tmp/who" "$2" >"$tmp/out" 2>&1 ||
	    fail "$1: status $?: $(head -n 3 "$tmp/out")"
}
try '' ''
try site:nothing=x ''
try site:who=a a
try 'site:w?o=a' a
try 'site:[a-z]ho=a' a
try 'site:[!a-v]ho=a' a
try 'site:[!w]ho=a' ''
try 'site:*=a' a
try 'site:w*h*o=a' a
try 'site:w*x*o=a' ''
try 'site:who=a,site:*=b' a
try 'site:*/who=a' a
try 'site:/nowhere/who=a' ''
HAKMEM_CONF=site:libfirst.so=first,site:libsecond*=second timeout 60 "$tmp/who" '' \
    "$tmp/libfirst.so" "$tmp/libsecond.so" >"$tmp/out" 2>&1 ||
    fail "libraries: status $?: $(head -n 3 "$tmp/out")"

[ "$failed" -eq 0 ] || exit 1
echo "integration/site.sh: ok"
