/* Two threads, neither of which allocated it, free it once each. */
#include "misuse.h"

static void *
free_once(void *p)
{
	hak_free(opaque(p));
	return NULL;
}

int
main(void)
{
	void *p = misused(allocate(640));

	in_another_thread(free_once, p);
	in_another_thread(free_once, p);
	flush_caches();
	return 0;
}
