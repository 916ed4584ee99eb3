/* 1 MiB into an object with a mapping of its own. */
#include "misuse.h"

int
main(void)
{
	void *p = allocate(4 << 20);

	hak_free(misused_inside(p, 1 << 20));
	flush_caches();
	return 0;
}
