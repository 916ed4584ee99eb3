/* A thread that did not allocate it frees it twice, then ends. */
#include "misuse.h"

static void *
free_twice(void *p)
{
	hak_free(p);
	hak_free(opaque(p));
	return NULL;
}

int
main(void)
{
	void *p = misused(allocate(64));

	in_another_thread(free_twice, p);
	flush_caches();
	return 0;
}
