#!/bin/sh
# A library that is loaded with RTLD_DEEPBIND frees what the program allocated, and the
# other way round; and it is found where the program's own search path says.
# shellcheck source=test/lib.sh
. "${0%/*}/../lib.sh"
overrides || skip "hakmem is not preloadable"
cat >"$tmp/plugin.c" <<'EOC'
#include <stdlib.h>
void give(void *p)
{
	free(p);
}
void *take(void)
{
	return malloc(100);
}
EOC
cat >"$tmp/host.c" <<'EOC'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
int main(void)
{
	void *plugin = dlopen("plugin.so", RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
	if (!plugin) {
		puts(dlerror());
		return 1;
	}
	void (*give)(void *) = (void (*)(void *))dlsym(plugin, "give");
	void *(*take)(void) = (void *(*)(void))dlsym(plugin, "take");
	give(malloc(100));
	free(take());
	return 0;
}
EOC
mkdir "$tmp/plugins"
${CC:-cc} -O1 -shared -fPIC "$tmp/plugin.c" -o "$tmp/plugins/plugin.so" &&
    ${CC:-cc} -O1 "$tmp/host.c" -o "$tmp/host" -ldl "-Wl,-rpath,$tmp/plugins" || exit 1
LD_PRELOAD=$HAKMEM_LIB timeout -s KILL 20 "$tmp/host" >"$tmp/said" 2>&1 ||
    fail "status $?: $(cat "$tmp/said")"
[ "$failed" -eq 0 ] || exit 1
echo "integration/deepbind.sh: ok"
