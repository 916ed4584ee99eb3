#!/bin/sh
# A main thread that ends alone (pthread_exit) leaves a process that ends with its
# last thread: the background thread must not be that one.
# shellcheck source=test/lib.sh
. "${0%/*}/../lib.sh"
overrides || skip "hakmem is not preloadable"
cat >"$tmp/ends.c" <<'EOC'
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static void *work(void *unused)
{
	for (int i = 0; i < 20; i++) {
		char *p = malloc(5 << 20);
		memset(p, 1, 5 << 20);
		free(p);
		usleep(20000);
	}
	puts("worker done");
	return unused;
}
int main(void)
{
	pthread_t thread;
	if (pthread_create(&thread, NULL, work, NULL) != 0)
		return 1;
	free(malloc(100));
	pthread_exit(NULL);
}
EOC
${CC:-cc} -O1 "$tmp/ends.c" -o "$tmp/ends" -pthread || exit 1
LD_PRELOAD=$HAKMEM_LIB timeout -s KILL 20 "$tmp/ends" >"$tmp/out" ||
    fail "status $?: the process did not end by itself"
grep -qx 'worker done' "$tmp/out" || fail "what it printed is lost"
[ "$failed" -eq 0 ] || exit 1
echo "integration/main_ends.sh: ok"
