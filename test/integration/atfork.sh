#!/bin/sh
# Handlers that libraries gave to pthread_atfork may allocate, also where their
# constructors run before those of what was preloaded.
# shellcheck source=test/lib.sh
. "${0%/*}/../lib.sh"
overrides || skip "hakmem is not preloadable"
cat >"$tmp/handlers.c" <<'EOC'
#include <pthread.h>
#include <stdlib.h>
static void *kept[300];
static void take(void)
{
	for (int i = 0; i < 300; i++)
		kept[i] = malloc(700);
}
static void give(void)
{
	for (int i = 0; i < 300; i++)
		free(kept[i]);
}
__attribute__((constructor)) static void start(void)
{
	pthread_atfork(take, give, give);
}
EOC
cat >"$tmp/forks.c" <<'EOC'
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
int main(void)
{
	int status = 1;
	free(malloc(10));
	pid_t pid = fork();
	if (pid == 0)
		_exit(0);
	waitpid(pid, &status, 0);
	return status;
}
EOC
${CC:-cc} -O1 -shared -fPIC "$tmp/handlers.c" -o "$tmp/handlers.so" -pthread &&
    ${CC:-cc} -O1 "$tmp/forks.c" -o "$tmp/forks" || exit 1
for order in "$HAKMEM_LIB $tmp/handlers.so" "$tmp/handlers.so $HAKMEM_LIB"; do
	LD_PRELOAD=$order timeout -s KILL 20 "$tmp/forks" ||
	    fail "status $? with $order"
done
# A library that starts before libc reads its options all the same.
line=$(HAKMEM_CONF=confirm_conf:true LD_PRELOAD=$HAKMEM_LIB "$tmp/forks" 2>&1)
[ "$line" = "hakmem: HAKMEM_CONF: 'confirm_conf:true'" ] || fail "options: '$line'"
[ "$failed" -eq 0 ] || exit 1
echo "integration/atfork.sh: ok"
