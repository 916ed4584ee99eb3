/* The owner frees it first, another thread again. */
#include "misuse.h"

static void *
free_again(void *p)
{
	hak_free(opaque(p));
	flush_caches();
	return NULL;
}

int
main(void)
{
	void *p = misused(allocate(64));

	hak_free(p);
	in_another_thread(free_again, p);
	flush_caches();
	return 0;
}
